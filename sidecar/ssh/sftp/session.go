package sftp

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
)

// Server is the stream to the real server.
type Server interface {
	io.ReadWriter
	CloseWrite() error
}

// Options are what is known of the server.
type Options struct {
	// Resolves says that the server's realpath follows every link, as OpenSSH's does. Of any other server links are
	// looked for, name by name.
	Resolves bool
}

// session is one agent's.
type session struct {
	gate     Gate
	opts     Options
	relay    *relay
	handles  handles
	features map[string]bool // extensions that both sides know
	queue    chan queued

	answering sync.Mutex // orders writes to the agent
	agent     *bufio.Writer
}

// queued is a request that waits its turn, and the open files that wait with it.
type queued struct {
	frame []byte
	held  []*handle
}

const (
	// maxQueued bounds the requests that wait their turn.
	maxQueued = 16
	// maxRequest bounds a request that brings no data: two paths and attributes, with room.
	maxRequest = 64 << 10
)

// Serve carries a session until the server ends it, which it does once the agent has ended its side. The caller then
// closes the agent's stream. An error is of the protocol, in words for the agent; nothing goes on after it.
func Serve(ctx context.Context, agent io.ReadWriter, server Server, gate Gate, opts Options) error {
	ctx, cancel := context.WithCancelCause(ctx)
	s := &session{
		gate: gate, opts: opts, relay: newRelay(server), queue: make(chan queued, maxQueued),
		handles: handles{byName: map[string]*handle{}}, agent: bufio.NewWriterSize(agent, 16<<10),
	}
	in := bufio.NewReaderSize(agent, 16<<10)
	if err := s.greet(in, server); err != nil {
		cancel(err)
		return err
	}
	go func() {
		for q := range s.queue {
			s.process(ctx, q)
		}
		_ = server.CloseWrite()
	}()
	go func() {
		if err := s.requests(ctx, in); err != nil {
			cancel(err)
		}
		close(s.queue)
	}()
	answered := make(chan error, 1)
	go func() { answered <- s.answers() }()
	var err error
	select {
	case err = <-answered:
		// The server has said all.
		if f := context.Cause(ctx); f != nil {
			err = f
		}
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	cancel(errServerGone)
	for _, number := range s.relay.abandoned() {
		s.gate.Done(number, Result{Error: errServerGone.Error()})
	}
	for _, h := range s.handles.drain() {
		r := h.result()
		if r.Error == "" {
			r.Error = "the session ended before it was closed"
		}
		s.gate.Done(h.number, r)
	}
	return err
}

// greet agrees on the version and on the extensions that are known here (draft section 4).
func (s *session) greet(in *bufio.Reader, server io.Writer) error {
	frame, err := readFrame(in, nil)
	if err != nil {
		return fmt.Errorf("sftp: reading the first packet: %w", err)
	}
	if kind, v := frameType(frame), frameID(frame); kind != typeInit || v < protocolVersion {
		return fmt.Errorf("sftp: the first packet is of type %d, version %d; SSH_FXP_INIT of version 3 or later was expected", kind, v)
	}
	hello := build(typeInit).frame()
	setFrameID(hello, protocolVersion)
	if _, err := server.Write(hello); err != nil {
		return fmt.Errorf("sftp: greeting the server: %w", err)
	}
	if frame, err = readFrame(s.relay.in, nil); err != nil {
		return fmt.Errorf("sftp: reading the server's version: %w", err)
	}
	if kind, v := frameType(frame), frameID(frame); kind != typeVersion || v != protocolVersion {
		return fmt.Errorf("sftp: the server answers with a packet of type %d, version %d; version 3 is served", kind, v)
	}
	s.features = map[string]bool{}
	out := build(typeVersion)
	f := fieldsOf(frame)
	for len(f.b) > 0 {
		name, value := string(f.bytes(maxPath)), string(f.bytes(maxPath))
		if f.bad {
			return fmt.Errorf("sftp: the server's version: %w", errMalformed)
		}
		if known, ok := extensions[name]; ok && known == value {
			s.features[name] = true
			out.text(name).text(value)
		}
	}
	hello = out.frame()
	setFrameID(hello, protocolVersion)
	if err := s.answer(hello); err != nil {
		return err
	}
	return s.flush()
}

// answer writes to the agent, which gets it at the latest by the next flush.
func (s *session) answer(frame []byte) error {
	s.answering.Lock()
	defer s.answering.Unlock()
	_, err := s.agent.Write(frame)
	return err
}

func (s *session) flush() error {
	s.answering.Lock()
	defer s.answering.Unlock()
	return s.agent.Flush()
}

// refuse answers in the server's place. That the agent takes nothing any more shows elsewhere.
func (s *session) refuse(id, code uint32, message string) {
	_ = s.answer(statusFrame(id, code, message))
	_ = s.flush()
}

// requests takes the agent's requests until it ends its side. What belongs to an open file goes straight on; anything
// else is judged in the order in which it came.
func (s *session) requests(ctx context.Context, in *bufio.Reader) error {
	var buf []byte
	for {
		frame, err := readFrame(in, buf)
		if errors.Is(err, errMalformed) {
			return fmt.Errorf("sftp: %w", err)
		}
		if err != nil {
			return nil //nolint:nilerr // the agent is gone, or has had enough
		}
		buf = frame
		direct, err := s.transfer(ctx, frame)
		if err != nil {
			return nil //nolint:nilerr // the server's end is told by whoever reads from it
		}
		if direct {
			continue
		}
		if len(frame) > maxRequest && frameType(frame) != typeWrite {
			s.refuse(frameID(frame), statusBadMessage, "a request of this type is not as long")
			continue
		}
		q := queued{append([]byte(nil), frame...), s.named(frame)}
		for _, h := range q.held {
			h.queued.Add(1)
		}
		select {
		case s.queue <- q:
		case <-ctx.Done():
			return nil
		}
	}
}
