package sftp

import (
	"context"
	"errors"
	"path"
	"sort"
	"strings"
)

// maxBack bounds how often a path goes back ("..") behind a name: each is asked for.
const maxBack = 32

// leadsThrough notes the folders that a path leads into and out of again.
func (s *session) leadsThrough(ctx context.Context, op *Operation, p string) error {
	if !strings.Contains(p, "..") {
		return nil
	}
	named := false
	for _, cut := range cuts(p) {
		switch path.Base(p[:cut]) {
		case "..":
			if !named {
				continue // up from where it begins
			}
			if len(op.Through) >= maxBack {
				return &refusal{statusFailure, "the path goes back too often"}
			}
			folder, err := s.nearest(ctx, p[:cut-len("..")], true)
			if err != nil {
				return err
			}
			op.Through = append(op.Through, Place{folder, p[:cut]})
		case ".", "/":
		default:
			named = true
		}
	}
	return nil
}

// cuts are the lengths of the parts of a path that end with a name; an absolute path's first is "/".
func cuts(p string) []int {
	var out []int
	if strings.HasPrefix(p, "/") {
		out = append(out, 1)
	}
	for i := 1; i <= len(p); i++ {
		if p[i-1] != '/' && (i == len(p) || p[i] == '/') {
			out = append(out, i)
		}
	}
	return out
}

// nearest is what a path leads to, or would lead to if all of it were there: the longest part that the server resolves,
// and the rest as it is written. A link to nothing is followed to where nothing is.
func (s *session) nearest(ctx context.Context, p string, follow bool) (string, error) {
	if folder, name := split(p); !follow && name != "" {
		folder, err := s.nearest(ctx, folder, true)
		return path.Join(folder, name), err
	}
	for range maxLinks {
		base, rest, err := s.longest(ctx, p)
		if err != nil || rest == "" {
			return base, err
		}
		name, rest, _ := strings.Cut(rest, "/")
		link := path.Join(base, name)
		to, err := s.readlink(ctx, link)
		var failed *unresolved
		if errors.As(err, &failed) || err == nil && len(to)+len(rest)+1 > maxPath {
			return clean(link + "/" + rest), nil
		}
		if err != nil {
			return "", err
		}
		p = to + "/" + rest
	}
	return clean(p), nil
}

// longest parts a path after the longest part that the server resolves.
func (s *session) longest(ctx context.Context, p string) (base, rest string, err error) {
	parts := cuts(p)
	var fatal error
	// A part that cannot be resolved can be by no name behind it.
	n := sort.Search(len(parts), func(i int) bool {
		if fatal != nil {
			return true
		}
		real, err := s.realpath(ctx, p[:parts[i]])
		var failed *unresolved
		switch {
		case err == nil:
			base = real
			return false
		case !errors.As(err, &failed):
			fatal = err
		}
		return true
	})
	if fatal != nil {
		return "", "", fatal
	}
	if n > 0 {
		return base, strings.Trim(p[parts[n-1]:], "/"), nil
	}
	base, err = s.realpath(ctx, ".")
	var failed *unresolved
	if path.IsAbs(p) || errors.As(err, &failed) {
		base, err = "/", nil
	}
	return base, strings.Trim(p, "/"), err
}
