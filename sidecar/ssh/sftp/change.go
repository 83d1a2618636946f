package sftp

import (
	"context"
	"fmt"
	"path"
	"strings"
)

// permissionBits are those that a new file may be given. Others (set-user-id) are attributes to be set.
const permissionBits = 0o777

func (s *session) mkdir(ctx context.Context, r *request) error {
	p, attrs := r.f.path(), r.f.attributes()
	if !r.f.done() {
		return errMalformed
	}
	op, ruling, err := s.decided(ctx, s.onOne(Operation{Names: []string{"mkdir"}}, p, false))
	if err != nil {
		return err
	}
	return s.through(ctx, r, ruling.Number, build(typeMkdir).text(op.Path).raw(creation(attrs)).frame(), 0)
}

// creation are the attributes that a new file gets: its permissions alone, as OpenSSH's server has it.
func creation(a attributes) []byte {
	if a.flags&attrPermissions == 0 {
		return []byte{0, 0, 0, 0}
	}
	b := &builder{}
	return b.u32(attrPermissions).u32(a.permissions & permissionBits).b
}

// setting is how attributes are judged: a size that is set cuts the file.
func setting(a attributes) (names []string, detail string) {
	names = []string{"setstat"}
	var what []string
	if a.flags&attrSize != 0 {
		names = append(names, "write")
		what = append(what, fmt.Sprintf("size %d", a.size))
	}
	if a.flags&attrOwner != 0 {
		what = append(what, "owner")
	}
	if a.flags&attrPermissions != 0 {
		what = append(what, fmt.Sprintf("mode %04o", a.permissions&0o7777))
	}
	if a.flags&attrTimes != 0 {
		what = append(what, "times")
	}
	return names, strings.Join(what, ", ")
}

func (s *session) setstat(ctx context.Context, r *request) error {
	p, attrs := r.f.path(), r.f.attributes()
	return s.setAttributes(ctx, r, p, attrs, true, func(p string) []byte {
		return build(typeSetstat).text(p).raw(attrs.raw).frame()
	})
}

func (s *session) setAttributes(ctx context.Context, r *request, p string, attrs attributes, follow bool, frame func(string) []byte) error {
	if !r.f.done() {
		return errMalformed
	}
	names, detail := setting(attrs)
	op, ruling, err := s.decided(ctx, s.onOne(Operation{Names: names, Detail: detail}, p, follow))
	if err != nil {
		return err
	}
	return s.through(ctx, r, ruling.Number, frame(op.Path), 0)
}

func (s *session) fsetstat(ctx context.Context, r *request) error {
	h, err := s.opened(r)
	if err != nil {
		return err
	}
	attrs := r.f.attributes()
	if !r.f.done() {
		return errMalformed
	}
	names, detail := setting(attrs)
	ruling, err := s.judge(ctx, Operation{Names: names, Path: h.path, Asked: h.asked, Detail: detail})
	if err != nil {
		return err
	}
	return s.through(ctx, r, ruling.Number, build(typeFsetstat).text(h.name).raw(attrs.raw).frame(), 0)
}

func (s *session) fstat(ctx context.Context, r *request) error {
	h, err := s.opened(r)
	if err != nil {
		return err
	}
	if !r.f.done() {
		return errMalformed
	}
	ruling, err := s.judge(ctx, Operation{Names: []string{"stat"}, Path: h.path, Asked: h.asked})
	if err != nil {
		return err
	}
	return s.through(ctx, r, ruling.Number, build(typeFstat).text(h.name).frame(), typeAttrs)
}

func (s *session) rename(ctx context.Context, r *request) error {
	from, to := r.f.path(), r.f.path()
	return s.both(ctx, r, "rename", from, to, func(from, to string) []byte {
		return build(typeRename).text(from).text(to).frame()
	})
}

// both serves what names two paths, neither of whose last links is followed.
func (s *session) both(ctx context.Context, r *request, operation, from, to string, frame func(from, to string) []byte) error {
	if !r.f.done() {
		return errMalformed
	}
	op, ruling, err := s.decided(ctx, func(ctx context.Context) (op Operation, err error) {
		op.Names, op.Asked, op.AskedTarget = []string{operation}, from, to
		if op.Path, err = s.place(ctx, &op, from, false); err != nil && !op.Failed {
			return op, err
		}
		// Both are judged, whichever of them cannot be resolved.
		var terr error
		if op.Target, terr = s.place(ctx, &op, to, false); terr != nil && err == nil {
			err = terr
		}
		if err == nil && operation == "rename" {
			op.Tree, err = s.isFolder(ctx, op.Path)
		}
		return op, err
	})
	if err != nil {
		return err
	}
	return s.through(ctx, r, ruling.Number, frame(op.Path, op.Target), 0)
}

// symlink has the link's text first, then where the link is to be: OpenSSH's order, and every client's, against the
// draft's (OpenSSH PROTOCOL, 4.1). What the link leads to is judged too. The text is sent as it is.
func (s *session) symlink(ctx context.Context, r *request) error {
	text, at := r.f.path(), r.f.path()
	if !r.f.done() {
		return errMalformed
	}
	op, ruling, err := s.decided(ctx, func(ctx context.Context) (op Operation, err error) {
		op.Names, op.Asked, op.AskedTarget = []string{"symlink"}, at, text
		if op.Path, err = s.place(ctx, &op, at, false); err != nil {
			return op, err
		}
		leads := text
		if !path.IsAbs(leads) {
			leads = path.Dir(op.Path) + "/" + leads
		}
		op.Target, err = s.place(ctx, &op, leads, true)
		if op.Failed {
			op.Failed, err = false, nil // to nothing yet; what it leads to one day is judged when it is used
		}
		return op, err
	})
	if err != nil {
		return err
	}
	return s.through(ctx, r, ruling.Number, build(typeSymlink).text(text).text(op.Path).frame(), 0)
}
