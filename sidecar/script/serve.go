package script

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/chaperone-dev/chaperone/sidecar/script/wire"
)

// errGone is the end of the program without a word.
var errGone = errors.New("the interpreter ended")

// errBroken is for a program that says what it never would: it is not ours any more.
var errBroken = &Refused{"the script cannot be interpreted: its interpreter said what it must not"}

// patience is how long the program may take to read a message. It does nothing else with the socket.
const patience = 30 * time.Second

// served is a script while it is interpreted.
type served struct {
	socket *net.UnixConn
	runner Runner

	commands sync.WaitGroup

	mu   sync.Mutex // guards what follows, and orders messages
	runs int
	last uint32
}

// serve has the script interpreted and runs what it comes to, until the program ends or says that it is over.
func (s *served) serve(ctx context.Context, text string) (uint8, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer s.commands.Wait()
	defer cancel()
	if err := s.send(wire.Message{Kind: wire.Script, Text: text}); err != nil {
		return 0, errGone
	}
	b := make([]byte, wire.MaxMessage+1)
	for {
		n, _, flags, _, err := s.socket.ReadMsgUnix(b, nil)
		if err != nil || n == 0 && flags&syscall.MSG_TRUNC == 0 {
			return 0, errGone
		}
		m, err := wire.Parse(b[:n])
		if err != nil || flags&syscall.MSG_TRUNC != 0 {
			return 0, errBroken
		}
		switch m.Kind {
		case wire.Run:
			if !s.begin(m.Number) {
				return 0, errBroken
			}
			s.commands.Go(func() { s.command(ctx, m) })
		case wire.Done:
			return m.Code, nil
		case wire.Refused:
			return 0, &Refused{m.Text}
		default:
			return 0, errBroken
		}
	}
}

// begin counts a command, if it may be asked for.
func (s *served) begin(number uint32) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.runs >= wire.MaxCommands || number <= s.last {
		return false
	}
	s.runs++
	s.last = number
	return true
}

func (s *served) command(ctx context.Context, m wire.Message) {
	status := s.runner(ctx, Command{m.Dir, m.Words}, func() (*Pipes, error) { return s.start(m.Number) })
	s.mu.Lock()
	s.runs--
	s.mu.Unlock()
	if s.send(wire.Message{Kind: wire.Status, Number: m.Number, Code: status}) != nil {
		s.socket.Close() // it would wait for ever
	}
}

// start makes the pipes of a command and hands the program its ends.
func (s *served) start(number uint32) (*Pipes, error) {
	var ends []*os.File // read and write, in turn
	closeAll := func() {
		for _, f := range ends {
			f.Close()
		}
	}
	for range 3 {
		r, w, err := os.Pipe()
		if err != nil {
			closeAll()
			return nil, fmt.Errorf("making a pipe: %w", err)
		}
		ends = append(ends, r, w)
	}
	theirs := []*os.File{ends[1], ends[2], ends[4]}
	var fds []int
	for _, f := range theirs {
		raw, err := f.SyscallConn()
		if err == nil {
			err = raw.Control(func(fd uintptr) { fds = append(fds, int(fd)) })
		}
		if err != nil {
			closeAll()
			return nil, fmt.Errorf("making a pipe: %w", err)
		}
	}
	if err := s.send(wire.Message{Kind: wire.Start, Number: number}, fds...); err != nil {
		closeAll()
		return nil, err
	}
	for _, f := range theirs {
		f.Close()
	}
	return &Pipes{Stdin: ends[0], Stdout: ends[3], Stderr: ends[5]}, nil
}

func (s *served) send(m wire.Message, fds ...int) error {
	b, err := wire.Append(nil, m)
	if err != nil {
		return err
	}
	var rights []byte
	if len(fds) > 0 {
		rights = syscall.UnixRights(fds...)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.socket.SetWriteDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, _, err := s.socket.WriteMsgUnix(b, rights, nil); err != nil {
		return err
	}
	return nil
}
