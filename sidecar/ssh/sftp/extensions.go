package sftp

import (
	"context"
	"strings"
)

// Names of extensions (OpenSSH PROTOCOL, section 4).
const (
	extPosixRename = "posix-rename@openssh.com"
	extHardlink    = "hardlink@openssh.com"
	extFsync       = "fsync@openssh.com"
	extStatvfs     = "statvfs@openssh.com"
	extFstatvfs    = "fstatvfs@openssh.com"
	extLsetstat    = "lsetstat@openssh.com"
	extLimits      = "limits@openssh.com"
	extExpandPath  = "expand-path@openssh.com"
	extCopyData    = "copy-data"
)

// extensions are those that agents are offered where the server has them in this version. Any other is refused.
var extensions = map[string]string{
	extPosixRename: "1", extHardlink: "1", extFsync: "1", extStatvfs: "2", extFstatvfs: "2", extLsetstat: "1", extLimits: "1",
	extExpandPath: "1", extCopyData: "1",
}

// extension is what serves a name of extensions.
func extension(name string) server {
	switch name {
	case extPosixRename:
		return (*session).posixRename
	case extHardlink:
		return (*session).hardlink
	case extFsync:
		return (*session).fsync
	case extStatvfs:
		return (*session).statvfs
	case extFstatvfs:
		return (*session).fstatvfs
	case extLsetstat:
		return (*session).lsetstat
	case extLimits:
		return (*session).limits
	case extExpandPath:
		return (*session).expandPath
	case extCopyData:
		return (*session).copyData
	}
	return nil
}

func (s *session) extended(ctx context.Context, r *request) error {
	name := string(r.f.bytes(maxPath))
	if r.f.bad {
		return errMalformed
	}
	serve := extension(name)
	if serve == nil || !s.features[name] {
		return &refusal{statusOpUnsupported, "this extension is not known"}
	}
	return serve(s, ctx, r)
}

func extend(name string) *builder { return build(typeExtended).text(name) }

func (s *session) posixRename(ctx context.Context, r *request) error {
	from, to := r.f.path(), r.f.path()
	return s.both(ctx, r, "rename", from, to, func(from, to string) []byte {
		return extend(extPosixRename).text(from).text(to).frame()
	})
}

// hardlink is of the file itself: link(2) follows no link.
func (s *session) hardlink(ctx context.Context, r *request) error {
	from, to := r.f.path(), r.f.path()
	return s.both(ctx, r, "link", from, to, func(from, to string) []byte {
		return extend(extHardlink).text(from).text(to).frame()
	})
}

func (s *session) fsync(ctx context.Context, r *request) error {
	h, err := s.opened(r)
	if err != nil {
		return err
	}
	if !r.f.done() {
		return errMalformed
	}
	return s.through(ctx, r, 0, extend(extFsync).text(h.name).frame(), 0)
}

func (s *session) statvfs(ctx context.Context, r *request) error {
	p := r.f.path()
	if !r.f.done() {
		return errMalformed
	}
	op, ruling, err := s.decided(ctx, s.onOne(Operation{Names: []string{"statvfs"}}, p, true))
	if err != nil {
		return err
	}
	return s.through(ctx, r, ruling.Number, extend(extStatvfs).text(op.Path).frame(), typeExtendedReply)
}

func (s *session) fstatvfs(ctx context.Context, r *request) error {
	h, err := s.opened(r)
	if err != nil {
		return err
	}
	if !r.f.done() {
		return errMalformed
	}
	ruling, err := s.judge(ctx, Operation{Names: []string{"statvfs"}, Path: h.path, Asked: h.asked})
	if err != nil {
		return err
	}
	return s.through(ctx, r, ruling.Number, extend(extFstatvfs).text(h.name).frame(), typeExtendedReply)
}

func (s *session) lsetstat(ctx context.Context, r *request) error {
	p, attrs := r.f.path(), r.f.attributes()
	return s.setAttributes(ctx, r, p, attrs, false, func(p string) []byte {
		return extend(extLsetstat).text(p).raw(attrs.raw).frame()
	})
}

// limits answers with the stricter of the server's and ours; 0 is none.
func (s *session) limits(ctx context.Context, r *request) error {
	if !r.f.done() {
		return errMalformed
	}
	answer, err := s.relay.call(ctx, extend(extLimits).frame())
	if err != nil {
		return err
	}
	if code, text, ok := status(answer); ok {
		return &refusal{code, text}
	}
	f := fieldsOf(answer)
	out := build(typeExtendedReply)
	for _, ours := range []uint64{maxPacket, maxData, maxData, maxHandles} {
		theirs := f.u64()
		if theirs == 0 || theirs > ours {
			theirs = ours
		}
		out.u64(theirs)
	}
	if frameType(answer) != typeExtendedReply || !f.done() {
		return &refusal{statusFailure, "the server's limits cannot be read"}
	}
	frame := out.frame()
	setFrameID(frame, r.id)
	if err := s.answer(frame); err != nil {
		return err
	}
	return s.flush()
}

// expandPath is realpath that knows ~. The server is asked for the home alone: what it says of a longer path would tell
// what is there before that is judged.
func (s *session) expandPath(ctx context.Context, r *request) error {
	p := r.f.path()
	if !r.f.done() {
		return errMalformed
	}
	if !strings.HasPrefix(p, "~") {
		return s.answerPath(ctx, r, p, p)
	}
	tilde, rest, _ := strings.Cut(p, "/")
	answer, err := s.relay.call(ctx, extend(extExpandPath).text(tilde).frame())
	if err != nil {
		return err
	}
	home, err := nameOf(answer)
	if err != nil {
		return err
	}
	if rest != "" {
		home += "/" + rest
	}
	return s.answerPath(ctx, r, home, p)
}

// copyData copies from one open file to another on the server: both were judged when they were opened.
func (s *session) copyData(ctx context.Context, r *request) error {
	from, err := s.opened(r)
	if err != nil {
		return err
	}
	offset, length := r.f.u64(), r.f.u64()
	to, err := s.opened(r)
	if err != nil {
		return err
	}
	at := r.f.u64()
	if !r.f.done() {
		return errMalformed
	}
	if !from.reads || from.folder || !to.writes || to.folder || from == to {
		return &refusal{statusPermissionDenied, "copy-data is from a file that is open for reading to another that is open for writing"}
	}
	for _, h := range []*handle{from, to} {
		if refused := h.denied(); refused != nil {
			return refused
		}
	}
	for _, m := range []struct {
		h *handle
		m *meter
	}{{from, &from.read}, {to, &to.written}} {
		m.h.mu.Lock()
		m.m.copied()
		m.h.mu.Unlock()
	}
	ruling, err := s.judge(ctx, Operation{Names: []string{"write"}, Path: to.path, Detail: "copied from " + from.path})
	if err != nil {
		return err
	}
	frame := extend(extCopyData).text(from.name).u64(offset).u64(length).text(to.name).u64(at).frame()
	return s.through(ctx, r, ruling.Number, frame, 0)
}
