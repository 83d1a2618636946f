package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/chaperone-dev/chaperone/sidecar/script/program"
	"github.com/chaperone-dev/chaperone/sidecar/script/wire"
)

// sidecar is the other end of the socket.
type sidecar struct {
	socket int

	mu      sync.Mutex // guards what follows, and orders messages
	last    uint32
	waiting map[uint32]chan answer
}

// answer is the sidecar's to a command: first that it started, with its pipes, where it did, then its status.
type answer struct {
	pipes  []*os.File // standard input, output, error
	status uint8
}

func newSidecar(socket int) *sidecar {
	return &sidecar{socket: socket, waiting: map[uint32]chan answer{}}
}

// begin reads the script.
func (s *sidecar) begin() (string, error) {
	m, _, err := s.receive()
	if err != nil {
		return "", err
	}
	if m.Kind != wire.Script {
		return "", errors.New("the first message is no script")
	}
	return m.Text, nil
}

// serve hands answers to whoever waits for them. The end of the socket is the end of the sidecar.
func (s *sidecar) serve() {
	for {
		m, pipes, err := s.receive()
		if err != nil {
			fmt.Fprintln(os.Stderr, "script: the sidecar:", err)
			os.Exit(1)
		}
		s.mu.Lock()
		to := s.waiting[m.Number]
		if m.Kind == wire.Status {
			delete(s.waiting, m.Number)
		}
		s.mu.Unlock()
		if to == nil {
			continue
		}
		to <- answer{pipes: pipes, status: m.Code} // there is room for both
	}
}

func (s *sidecar) send(m wire.Message) error {
	b, err := wire.Append(nil, m)
	if err != nil {
		return &program.Refusal{Why: err.Error()}
	}
	_, err = syscall.Write(s.socket, b)
	return err
}

// receive reads a message and the pipes that come with it.
func (s *sidecar) receive() (wire.Message, []*os.File, error) {
	b, rights := make([]byte, wire.MaxText+64), make([]byte, unix.CmsgSpace(3*4))
	var n, oobn int
	for {
		var err error
		if n, oobn, _, _, err = unix.Recvmsg(s.socket, b, rights, unix.MSG_CMSG_CLOEXEC); err == nil {
			break
		} else if !errors.Is(err, unix.EINTR) {
			return wire.Message{}, nil, err
		}
	}
	if n == 0 {
		return wire.Message{}, nil, io.EOF
	}
	m, err := wire.Parse(b[:n])
	if err != nil || m.Kind != wire.Start {
		return m, nil, err
	}
	control, err := unix.ParseSocketControlMessage(rights[:oobn])
	if err != nil || len(control) != 1 {
		return m, nil, fmt.Errorf("a command without its pipes: %w", err)
	}
	fds, err := unix.ParseUnixRights(&control[0])
	if err != nil || len(fds) != 3 {
		return m, nil, fmt.Errorf("a command without its pipes: %w", err)
	}
	var pipes []*os.File
	for _, fd := range fds { // which are non-blocking, as the sidecar made them
		pipes = append(pipes, os.NewFile(uintptr(fd), "pipe"))
	}
	return m, pipes, nil
}

// command has the sidecar run a command, and moves what it reads and prints.
func (s *sidecar) command(_ context.Context, c program.Command) (uint8, error) {
	answers := make(chan answer, 2)
	s.mu.Lock()
	if len(s.waiting) >= wire.MaxCommands {
		s.mu.Unlock()
		return 0, &program.Refusal{Why: fmt.Sprintf("more than %d commands at once are not available", wire.MaxCommands)}
	}
	s.last++
	number := s.last
	s.waiting[number] = answers
	err := s.send(wire.Message{Kind: wire.Run, Number: number, Dir: c.Dir, Words: c.Argv})
	s.mu.Unlock()
	if err != nil {
		return 0, err
	}
	a := <-answers
	if a.pipes == nil {
		return a.status, nil
	}
	in, out, errs := a.pipes[0], a.pipes[1], a.pipes[2]
	var printing, reading sync.WaitGroup
	printing.Go(func() { print(c.Stdout, out) })
	printing.Go(func() { print(c.Stderr, errs) })
	reading.Go(func() {
		_, _ = io.Copy(struct{ io.Writer }{in}, struct{ io.Reader }{c.Stdin})
		in.Close()
	})
	a = <-answers
	printing.Wait()
	// What the command has left unread is for the next one.
	if stdin, ok := c.Stdin.(*os.File); ok {
		_ = stdin.SetReadDeadline(time.Unix(1, 0))
		in.Close()
		reading.Wait()
		_ = stdin.SetReadDeadline(time.Time{})
	}
	return a.status, nil
}

// print copies what a command prints until it ends. Where nobody takes it any more its pipe is closed under it.
func print(to io.Writer, from *os.File) {
	defer from.Close()
	_, _ = io.Copy(struct{ io.Writer }{to}, struct{ io.Reader }{from})
}
