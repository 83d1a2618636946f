package sftp

import (
	"context"
	"errors"
	"strings"
)

// Flags of an open (draft section 6.3).
const (
	openRead   = 0x01
	openWrite  = 0x02
	openAppend = 0x04
	openCreate = 0x08
	openTrunc  = 0x10
	openExcl   = 0x20
	openKnown  = openRead | openWrite | openAppend | openCreate | openTrunc | openExcl
)

// opening is how an open is judged. A file that may come to be, or is emptied, is written, whatever else the flags say.
func opening(flags uint32) (names []string, detail string) {
	if flags&openRead != 0 {
		names = append(names, "read")
	}
	switch {
	case flags&(openWrite|openAppend|openTrunc) == openWrite|openAppend:
		names = append(names, "append")
	case flags&(openWrite|openCreate|openTrunc|openAppend) != 0:
		names = append(names, "write")
	}
	if len(names) == 0 {
		names = []string{"read"}
	}
	var what []string
	for _, f := range []struct {
		flag uint32
		name string
	}{{openCreate, "create"}, {openTrunc, "truncate"}, {openExcl, "exclusive"}} {
		if flags&f.flag != 0 {
			what = append(what, f.name)
		}
	}
	return names, strings.Join(what, ", ")
}

// open judges by the resolved path, opens that, and looks again where it leads before anything is done with what was
// opened: a link that came between would be seen. A file is emptied only then.
func (s *session) open(ctx context.Context, r *request) error {
	p, flags, attrs := r.f.path(), r.f.u32(), r.f.attributes()
	if !r.f.done() {
		return errMalformed
	}
	if flags&^openKnown != 0 {
		return &refusal{statusOpUnsupported, "unknown flags of an open"}
	}
	names, detail := opening(flags)
	// An exclusive open makes a file, and follows no link in its place.
	exclusive := flags&(openCreate|openExcl) == openCreate|openExcl
	if s.handles.full() {
		return &refusal{statusFailure, "too many files are open"}
	}
	op, ruling, err := s.decided(ctx, s.onOne(Operation{Names: names, Detail: detail}, p, !exclusive))
	if err != nil {
		return err
	}
	empty := flags&openTrunc != 0 && !exclusive
	if empty {
		flags &^= openTrunc
		if flags&openWrite == 0 {
			flags |= openWrite // the server empties it, whatever it was opened for
		}
	}
	h := &handle{number: ruling.Number, stands: ruling.Stands, path: op.Path, asked: op.Asked, reads: flags&openRead != 0, writes: flags&(openWrite|openAppend) != 0, appends: flags&openAppend != 0}
	return s.opens(ctx, r, h, build(typeOpen).text(op.Path).u32(flags).raw(creation(attrs)).frame(), empty)
}

func (s *session) opendir(ctx context.Context, r *request) error {
	p := r.f.path()
	if !r.f.done() {
		return errMalformed
	}
	if s.handles.full() {
		return &refusal{statusFailure, "too many files are open"}
	}
	op, ruling, err := s.decided(ctx, s.onOne(Operation{Names: []string{"list"}}, p, true))
	if err != nil {
		return err
	}
	return s.opens(ctx, r, &handle{number: ruling.Number, stands: ruling.Stands, path: op.Path, asked: op.Asked, folder: true, reads: true}, build(typeOpendir).text(op.Path).frame(), false)
}

// opens sends an open that was let through and answers the agent with the handle.
func (s *session) opens(ctx context.Context, r *request, h *handle, frame []byte, empty bool) error {
	fail := func(err error) error {
		s.gate.Done(h.number, Result{Error: err.Error()})
		return err
	}
	asked, err := s.relay.begin(ctx, frame)
	if err != nil {
		return fail(err)
	}
	stays, err := s.stays(ctx, h.path)
	if err != nil {
		return fail(err)
	}
	answer, err := s.relay.wait(ctx, asked)
	if err != nil {
		return fail(err)
	}
	if code, text, ok := status(answer); ok {
		return fail(&unresolved{code, text})
	}
	f := fieldsOf(answer)
	h.name = string(f.bytes(maxHandle))
	if frameType(answer) != typeHandle || !f.done() {
		return fail(errors.New("the server's sftp: an answer without a handle"))
	}
	err = stays("with what was opened")
	if err == nil && empty {
		err = s.empty(ctx, h)
	}
	if err == nil && !s.handles.add(h) {
		err = &refusal{statusFailure, "the server gives a handle twice"}
	}
	if err != nil {
		if _, cerr := s.relay.begin(ctx, build(typeClose).text(h.name).frame()); cerr != nil {
			err = cerr
		}
		return fail(err)
	}
	setFrameID(answer, r.id)
	if err := s.answer(answer); err != nil {
		return err
	}
	return s.flush()
}

// stays asks whether a path that was resolved leads nowhere else behind what was sent before. What it returns waits for
// the answer; its error is a *refusal where the path has moved.
func (s *session) stays(ctx context.Context, p string) (func(done string) error, error) {
	resolved := func() (string, error) { return s.realpath(ctx, p) }
	if s.opts.Resolves { // such a server answers in order: the question may be on its way already
		asked, err := s.relay.begin(ctx, build(typeRealpath).text(p).frame())
		if err != nil {
			return nil, err
		}
		resolved = func() (string, error) {
			answer, err := s.relay.wait(ctx, asked)
			if err != nil {
				return "", err
			}
			return nameOf(answer)
		}
	}
	return func(done string) error {
		now, err := resolved()
		if err == nil && now != p {
			return &refusal{statusPermissionDenied, moved + " " + done}
		}
		return err
	}, nil
}

// empty cuts what was opened to nothing, which an open does to regular files alone.
func (s *session) empty(ctx context.Context, h *handle) error {
	answer, err := s.relay.call(ctx, build(typeFsetstat).text(h.name).u32(attrSize).u64(0).frame())
	if err != nil {
		return err
	}
	code, text, _ := status(answer)
	if frameType(answer) == typeStatus && code == statusOK {
		return nil
	}
	if answer, err = s.relay.call(ctx, build(typeFstat).text(h.name).frame()); err != nil {
		return err
	}
	f := fieldsOf(answer)
	if a := f.attributes(); frameType(answer) == typeAttrs && !f.bad && a.flags&attrPermissions != 0 && a.permissions&modeType != modeRegular {
		return nil
	}
	return &unresolved{code, text}
}
