package kube

import (
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/chaperone-dev/chaperone/sidecar/kube/spdy"
)

// spdyExec is exec and attach over SPDY: the client opens a stream for each of stdin, stdout, stderr, error and resize.
// Streams have the same numbers on both sides.
type spdyExec struct {
	*program
	agent, up *spdyEnd

	mu      sync.Mutex // guards what follows
	roles   map[uint32]string
	numbers map[string]uint32

	ending []byte // what came on the error stream
}

func newSPDYExec(r *relay, p *program) *spdyExec {
	return &spdyExec{program: p, agent: newSPDYEnd(r.agent), up: newSPDYEnd(r.up), roles: make(map[uint32]string), numbers: make(map[string]uint32)}
}

// streamWriter sends on one stream.
type streamWriter struct {
	to     *spdyEnd
	stream uint32
}

func (w streamWriter) Write(p []byte) (int, error) { return len(p), w.to.data(w.stream, false, p) }

func (s *spdyExec) role(stream uint32) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.roles[stream]
}

func (s *spdyExec) upwards() error {
	for {
		f, err := s.agent.frames.Next()
		if err != nil {
			return err
		}
		switch f.Kind {
		case spdy.SynStream:
			err = s.open(&f)
		case spdy.Data:
			err = s.input(&f)
		case spdy.RstStream:
			if s.role(f.Stream) != "" {
				err = s.up.frame(&f)
			}
		case spdy.Ping, spdy.GoAway:
			err = s.up.frame(&f)
		case spdy.Settings, spdy.WindowUpdate:
		default:
			err = fmt.Errorf("the agent sent a SPDY frame of the kind %d, which exec does not have", f.Kind)
		}
		if err != nil {
			return err
		}
	}
}

// open takes a stream of the agent's.
func (s *spdyExec) open(f *spdy.Frame) error {
	role := strings.ToLower(f.Get("streamtype"))
	e := s.r.x.request.Exec
	wanted, known := map[string]bool{"error": true, "stdin": e.Stdin, "stdout": e.Stdout, "stderr": e.Stderr && !e.TTY, "resize": e.TTY}[role]
	s.mu.Lock()
	_, twice := s.numbers[role]
	_, used := s.roles[f.Stream]
	if !known || !wanted || twice || used || f.Stream%2 == 0 {
		s.mu.Unlock()
		return fmt.Errorf("the agent opened a stream %q, which it did not ask for or has", role)
	}
	s.roles[f.Stream], s.numbers[role] = role, f.Stream
	if role == "stdout" || role == "stderr" {
		s.output(role, streamWriter{s.agent, f.Stream})
	}
	s.mu.Unlock()
	// Clients wait for the answer to each stream before they open the next. What the API server makes of it comes behind:
	// a stream that it does not take is reset.
	if err := s.agent.frame(&spdy.Frame{Kind: spdy.SynReply, Stream: f.Stream}); err != nil {
		return err
	}
	return s.up.frame(&spdy.Frame{Kind: spdy.SynStream, Flags: f.Flags & spdy.FlagFin, Stream: f.Stream, Priority: f.Priority, Headers: []spdy.Header{{Name: "streamtype", Value: role}}})
}

// input hands on what the agent writes.
func (s *spdyExec) input(f *spdy.Frame) error {
	role := s.role(f.Stream)
	switch role {
	case "stdin":
		return relayData(s.up, s.agent, f, nil)
	case "resize":
		size, err := whole(s.agent.frames, maxResize)
		if err != nil {
			return err
		}
		s.resize(size)
		return s.up.data(f.Stream, f.Fin(), size)
	case "error", "stdout", "stderr":
		if f.Length == 0 { // clients end their side of these
			return s.up.data(f.Stream, f.Fin(), nil)
		}
		return fmt.Errorf("the agent wrote to the stream %q, which is not its to write to", role)
	}
	return nil // of a stream that was reset
}

// relayData hands the payload of a data frame on, in pieces.
func relayData(to, from *spdyEnd, f *spdy.Frame, count func(int)) error {
	left := f.Length
	return pieces(from.frames, func(piece []byte) error {
		left -= len(piece)
		if count != nil {
			count(len(piece))
		}
		return to.data(f.Stream, f.Fin() && left == 0, piece)
	})
}

func (s *spdyExec) downwards() error {
	err := s.printing()
	if s.r.telling() != "" {
		return err
	}
	if derr := errors.Join(s.drain(), s.tell(false)); derr != nil {
		return derr
	}
	return err
}

func (s *spdyExec) printing() error {
	for {
		f, err := s.up.frames.Next()
		if err = s.r.heard(err); err != nil {
			return err
		}
		role := s.role(f.Stream)
		switch f.Kind {
		case spdy.SynReply:
			if role != "" && f.Fin() { // the agent was answered when it opened the stream
				err = s.agent.data(f.Stream, true, nil)
			}
		case spdy.Data:
			err = s.printed(role, &f)
		case spdy.RstStream:
			if role != "" {
				if err = s.finishOutput(role); err == nil {
					err = s.agent.frame(&f)
				}
			}
		case spdy.Ping:
			err = s.agent.frame(&f)
		case spdy.GoAway:
			if err = errors.Join(s.drain(), s.tell(false)); err == nil {
				err = s.agent.frame(&f)
			}
		case spdy.Settings, spdy.WindowUpdate:
		default:
			err = fmt.Errorf("the API server sent a SPDY frame of the kind %d, which exec does not have", f.Kind)
		}
		if err != nil {
			return err
		}
	}
}

// printed takes what the program printed, or how it ended.
func (s *spdyExec) printed(role string, f *spdy.Frame) error {
	switch role {
	case "stdout", "stderr":
		out := s.out(role)
		if err := pieces(s.up.frames, func(piece []byte) error {
			_, err := out.Write(piece)
			return err
		}); err != nil || !f.Fin() {
			return err
		}
		if err := s.finishOutput(role); err != nil {
			return err
		}
		return s.agent.data(f.Stream, true, nil)
	case "error":
		piece, err := whole(s.up.frames, maxStatus)
		if err != nil {
			return err
		}
		if s.ending = append(s.ending, piece...); len(s.ending) > maxStatus {
			return fmt.Errorf("how the program ended is told in more than %d bytes", maxStatus)
		}
		if !f.Fin() {
			return nil
		}
		return s.tell(true)
	case "stdin", "resize":
		if _, err := whole(s.up.frames, 0); err != nil {
			return err
		}
		return s.agent.data(f.Stream, f.Fin(), nil)
	}
	return nil // of a stream that the agent reset
}

// tell hands on how the program ended. Not every server ends the stream of it: some reset it, or end the connection.
func (s *spdyExec) tell(fin bool) error {
	var told []byte
	if len(s.ending) > 0 {
		told = s.status(s.ending)
	}
	s.ending = nil
	s.mu.Lock()
	stream := s.numbers["error"]
	s.mu.Unlock()
	if stream == 0 || len(told) == 0 && !fin {
		return nil
	}
	return s.agent.data(stream, fin, told)
}

// finishOutput hands on what was held back of a stream that ends.
func (s *spdyExec) finishOutput(role string) error {
	if role == "error" {
		return s.tell(false)
	}
	if out := s.out(role); out != nil {
		return out.Finish()
	}
	return nil
}

func (s *spdyExec) say(message string) {
	_ = s.drain()
	s.mu.Lock()
	stream, open := s.numbers["error"]
	s.mu.Unlock()
	if open {
		_ = s.agent.data(stream, true, failureStatus(message))
	}
}
