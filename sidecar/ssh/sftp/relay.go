package sftp

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
)

// maxOutstanding bounds the requests that the server has not answered; OpenSSH's client sends 64 ahead.
const maxOutstanding = 512

// answerKind says what becomes of the server's answer.
type answerKind byte

const (
	toAgent answerKind = iota // as it is; ends what was recorded under number
	ofRead                    // and its data are counted
	ofWrite                   // and it decides whether the write counts
	ofClose                   // and it ends the handle's operation
	toUs                      // is ours alone
)

// pending is a request that the server has not answered.
type pending struct {
	kind   answerKind
	id     uint32 // the agent's
	expect byte   // what an answer other than a status must be; 0: nothing but a status
	number uint64 // 0: nothing was recorded
	handle *handle
	offset uint64
	length uint32
	ours   chan []byte // a copy of the answer
}

// relay is the server's side of a session.
type relay struct {
	server   io.Writer
	in       *bufio.Reader
	slots    chan struct{} // one for each pending
	finished chan struct{} // closed once the server says no more

	writing sync.Mutex // orders writes to the server

	mu      sync.Mutex // guards what follows
	waiting map[uint32]pending
	last    uint32
}

func newRelay(server io.ReadWriter) *relay {
	return &relay{
		server: server, in: bufio.NewReaderSize(server, 16<<10), slots: make(chan struct{}, maxOutstanding), finished: make(chan struct{}), waiting: map[uint32]pending{},
	}
}

// errServerGone ends what the server will not answer any more.
var errServerGone = errors.New("the server ended the session")

// send gives a request its id and sends it. It waits while too many are unanswered.
func (r *relay) send(ctx context.Context, frame []byte, p pending) error {
	select {
	case r.slots <- struct{}{}:
	case <-r.finished:
		return errServerGone
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	r.writing.Lock()
	defer r.writing.Unlock()
	r.mu.Lock()
	// An id is free again long before they have all been used.
	for r.last++; ; r.last++ {
		if _, used := r.waiting[r.last]; !used {
			break
		}
	}
	r.waiting[r.last] = p
	setFrameID(frame, r.last)
	r.mu.Unlock()
	if _, err := r.server.Write(frame); err != nil {
		return fmt.Errorf("%w: %w", errServerGone, err)
	}
	return nil
}

// begin sends a request of our own.
func (r *relay) begin(ctx context.Context, frame []byte) (<-chan []byte, error) {
	answer := make(chan []byte, 1)
	return answer, r.send(ctx, frame, pending{kind: toUs, ours: answer})
}

func (r *relay) wait(ctx context.Context, answer <-chan []byte) ([]byte, error) {
	select {
	case frame := <-answer:
		return frame, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-r.finished:
	}
	select {
	case frame := <-answer:
		return frame, nil
	default:
		return nil, errServerGone
	}
}

// call sends a request of our own and waits for the answer.
func (r *relay) call(ctx context.Context, frame []byte) ([]byte, error) {
	answer, err := r.begin(ctx, frame)
	if err != nil {
		return nil, err
	}
	return r.wait(ctx, answer)
}

// take ends a request that an answer is for.
func (r *relay) take(id uint32) (pending, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p, ok := r.waiting[id]
	if ok {
		delete(r.waiting, id)
		<-r.slots
	}
	return p, ok
}

// abandoned are the numbers of what was never answered.
func (r *relay) abandoned() []uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []uint64
	for id, p := range r.waiting {
		if p.number != 0 {
			out = append(out, p.number)
		}
		delete(r.waiting, id)
	}
	return out
}

// status is the code and text of a status; ok is false for any other packet.
func status(frame []byte) (code uint32, text string, ok bool) {
	if frameType(frame) != typeStatus {
		return 0, "", false
	}
	f := fieldsOf(frame)
	code = f.u32()
	text = string(f.bytes(maxPacket)) // servers of version 2 say none
	return code, text, true
}

// serverError is a status in words, "" for one that is none.
func serverError(frame []byte) string {
	code, text, ok := status(frame)
	switch {
	case !ok || code == statusOK || code == statusEOF:
		return ""
	case text != "":
		return bounded(text, 1<<10)
	}
	return fmt.Sprintf("status %d", code)
}

// answers hands on what the server says until it ends.
func (s *session) answers() error {
	r := s.relay
	defer close(r.finished)
	var buf []byte
	for {
		if r.in.Buffered() == 0 {
			if err := s.flush(); err != nil {
				return err
			}
		}
		frame, err := readFrame(r.in, buf)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("the server's sftp: %w", err)
		}
		buf = frame
		p, ok := r.take(frameID(frame))
		if !ok {
			return errors.New("the server's sftp: an answer to nothing that was asked")
		}
		kind := frameType(frame)
		if p.kind == toUs {
			p.ours <- append([]byte(nil), frame...)
			continue
		}
		if kind != typeStatus && (p.expect == 0 || kind != p.expect) {
			return fmt.Errorf("the server's sftp: an answer of type %d where none is", kind)
		}
		if err := s.account(p, frame); err != nil {
			return err
		}
		setFrameID(frame, p.id)
		if err := s.answer(frame); err != nil {
			return err
		}
	}
}

// account counts and records what an answer tells.
func (s *session) account(p pending, frame []byte) error {
	switch p.kind {
	case ofRead:
		if frameType(frame) == typeData {
			f := fieldsOf(frame)
			data := f.bytes(int(p.length))
			if !f.done() {
				return errors.New("the server's sftp: data that do not fit the read")
			}
			p.handle.mu.Lock()
			p.handle.read.add(p.offset, data)
			p.handle.mu.Unlock()
		}
	case ofWrite:
		if why := serverError(frame); why != "" {
			p.handle.mu.Lock()
			if p.handle.failed == "" {
				p.handle.failed = why
			}
			p.handle.mu.Unlock()
		}
	case ofClose:
		r := p.handle.result()
		if why := serverError(frame); why != "" && r.Error == "" {
			r.Error = why
		}
		s.gate.Done(p.handle.number, r)
	default:
		if p.number != 0 {
			s.gate.Done(p.number, Result{Error: serverError(frame)})
		}
	}
	return nil
}
