package sftp

import (
	"context"
	"errors"
	"strings"
)

// process carries out one request that had to wait its turn.
func (s *session) process(ctx context.Context, q queued) {
	defer func() {
		for _, h := range q.held {
			h.queued.Add(-1)
		}
	}()
	frame := q.frame
	id := frameID(frame)
	if ctx.Err() != nil {
		return
	}
	f := fieldsOf(frame)
	serve := requestType(frameType(frame))
	if serve == nil {
		s.refuse(id, statusOpUnsupported, "this request is not known")
		return
	}
	err := serve(s, ctx, &request{id: id, frame: frame, f: f})
	var failed *unresolved
	var refused *refusal
	switch {
	case err == nil:
	case errors.As(err, &refused):
		s.refuse(id, refused.code, refused.text)
	case errors.As(err, &failed):
		code := failed.code
		if code == statusOK || code == statusEOF {
			code = statusFailure // nothing was done
		}
		s.refuse(id, code, failed.text)
	case errors.Is(err, errMalformed):
		s.refuse(id, statusBadMessage, err.Error())
	default:
		// The session is at its end.
		s.refuse(id, statusFailure, err.Error())
	}
}

// request is one that is judged.
type request struct {
	id    uint32
	frame []byte
	f     *fields
}

// refusal is an answer in the server's place.
type refusal struct {
	code uint32
	text string
}

func (e *refusal) Error() string { return e.text }

// server serves one type of request.
type server func(*session, context.Context, *request) error

// requestType is what serves a type of packet, nil for one that is not known. Reads, writes and closes are among them for
// files that something else waits for.
func requestType(kind byte) server {
	switch kind {
	case typeOpen:
		return (*session).open
	case typeOpendir:
		return (*session).opendir
	case typeReaddir:
		return (*session).readdir
	case typeRead, typeWrite, typeClose:
		return (*session).waited
	case typeFstat:
		return (*session).fstat
	case typeFsetstat:
		return (*session).fsetstat
	case typeStat:
		return onPath("stat", typeLstat, true, typeAttrs) // what is resolved is no link
	case typeLstat:
		return onPath("stat", typeLstat, false, typeAttrs)
	case typeReadlink:
		return onPath("readlink", typeReadlink, false, typeName)
	case typeRemove:
		return onPath("remove", typeRemove, false, 0)
	case typeRmdir:
		return onPath("rmdir", typeRmdir, false, 0)
	case typeRealpath:
		return (*session).realpathRequest
	case typeMkdir:
		return (*session).mkdir
	case typeSetstat:
		return (*session).setstat
	case typeRename:
		return (*session).rename
	case typeSymlink:
		return (*session).symlink
	case typeExtended:
		return (*session).extended
	}
	return nil
}

// through sends what was let through.
func (s *session) through(ctx context.Context, r *request, number uint64, frame []byte, expect byte) error {
	return s.relay.send(ctx, frame, pending{id: r.id, number: number, expect: expect})
}

// onPath serves a request that holds a path alone. It is sent as kind.
func onPath(operation string, kind byte, follow bool, expect byte) server {
	return func(s *session, ctx context.Context, r *request) error {
		p := r.f.path()
		if !r.f.done() {
			return errMalformed
		}
		// A slash behind a link names what the link leads to (POSIX, 4.16).
		follow := follow || operation == "stat" && strings.HasSuffix(p, "/")
		op, ruling, err := s.decided(ctx, s.onOne(Operation{Names: []string{operation}}, p, follow))
		if err != nil {
			return err
		}
		return s.through(ctx, r, ruling.Number, build(kind).text(op.Path).frame(), expect)
	}
}

// realpathRequest answers with what was resolved: the server's own answer.
func (s *session) realpathRequest(ctx context.Context, r *request) error {
	p := r.f.path()
	if !r.f.done() {
		return errMalformed
	}
	return s.answerPath(ctx, r, p, p)
}

// answerPath tells the agent what a path leads to; asked is that in the agent's words.
func (s *session) answerPath(ctx context.Context, r *request, p, asked string) error {
	op, ruling, err := s.decided(ctx, s.onOne(Operation{Names: []string{"realpath"}, Asked: asked}, p, true))
	if err != nil {
		return err
	}
	s.gate.Done(ruling.Number, Result{})
	out := build(typeName).u32(1).text(op.Path).text(op.Path).u32(0).frame()
	setFrameID(out, r.id)
	if err := s.answer(out); err != nil {
		return err
	}
	return s.flush()
}

// waited serves what an open file's other requests were waited for.
func (s *session) waited(ctx context.Context, r *request) error {
	h := s.handles.get(r.f.bytes(maxHandle))
	if h == nil {
		return &refusal{statusFailure, "no such handle"}
	}
	return s.pass(ctx, r.frame, h, r.f)
}

// opened is the open file that a request names.
func (s *session) opened(r *request) (*handle, error) {
	name := r.f.bytes(maxHandle)
	if r.f.bad {
		return nil, errMalformed
	}
	h := s.handles.get(name)
	if h == nil {
		return nil, &refusal{statusFailure, "no such handle"}
	}
	return h, nil
}
