package sftp

import (
	"context"
	"errors"
	"reflect"
)

// moved is what is said where a path changed between the decision and what was to be done.
const moved = "the path leads elsewhere than when it was judged; nothing was done"

// looking finds out what a request comes to. Where the error is *unresolved the operation is Failed, and says what it
// would have been.
type looking func(context.Context) (Operation, error)

// judge has an operation decided.
func (s *session) judge(ctx context.Context, op Operation) (Ruling, error) {
	ruling, err := s.gate.Judge(ctx, op)
	if err != nil {
		return ruling, &refusal{statusPermissionDenied, err.Error()}
	}
	return ruling, nil
}

// decided looks what a request comes to and has that decided. Where that took its time it looks again: a folder that
// became a link while people were asked would be followed. What the server cannot resolve is judged too, for a refusal to
// look the same whatever is there, and ends with the server's answer.
func (s *session) decided(ctx context.Context, look looking) (Operation, Ruling, error) {
	op, err := look(ctx)
	if err != nil && !op.Failed {
		return op, Ruling{}, err
	}
	ruling, jerr := s.judge(ctx, op)
	if jerr != nil {
		return op, Ruling{}, jerr
	}
	if err == nil && ruling.Waited {
		var again Operation
		if again, err = look(ctx); again.Failed || err == nil && !reflect.DeepEqual(op, again) {
			err = &refusal{statusPermissionDenied, moved}
		}
	}
	if err != nil && ruling.Number != 0 {
		s.gate.Done(ruling.Number, Result{Error: err.Error()})
	}
	return op, ruling, err
}

// onOne looks at an operation on one path.
func (s *session) onOne(op Operation, p string, follow bool) looking {
	return func(ctx context.Context) (Operation, error) {
		op := op
		if op.Asked == "" {
			op.Asked = p
		}
		var err error
		op.Path, err = s.place(ctx, &op, p, follow)
		return op, err
	}
}

// place is a path as it is judged, and used. What it leads through is noted in the operation, and that the server cannot
// resolve it: then it is what the path would lead to.
func (s *session) place(ctx context.Context, op *Operation, p string, follow bool) (string, error) {
	if err := s.leadsThrough(ctx, op, p); err != nil {
		return "", err
	}
	out, err := s.resolve(ctx, p, follow)
	var failed *unresolved
	if err == nil || !errors.As(err, &failed) {
		return out, err
	}
	if out, err = s.nearest(ctx, p, follow); err != nil {
		return "", err
	}
	op.Failed = true
	return out, failed
}
