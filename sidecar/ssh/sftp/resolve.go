package sftp

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"
)

// unresolved is a path that the server cannot resolve.
type unresolved struct {
	code uint32
	text string
}

func (e *unresolved) Error() string { return e.text }

// resolve is what a path leads to, absolute and without a link in it. follow says that the operation follows a link
// that the last name is. An *unresolved error is the server's answer, any other ends the session.
func (s *session) resolve(ctx context.Context, p string, follow bool) (string, error) {
	if follow {
		return s.realpath(ctx, p)
	}
	folder, name := split(p)
	if name == "" {
		return s.realpath(ctx, p)
	}
	folder, err := s.realpath(ctx, folder)
	if err != nil {
		return "", err
	}
	return path.Join(folder, name), nil
}

// split parts the last name from the folder that it is in; the name is empty where the path ends in none.
func split(p string) (folder, name string) {
	p = strings.TrimRight(p, "/")
	folder, name = path.Split(p)
	if name == "." || name == ".." {
		return p, ""
	}
	if folder == "" {
		folder = "."
	}
	return folder, name
}

// realpath asks the server. Where it may answer without looking for links, they are looked for.
func (s *session) realpath(ctx context.Context, p string) (string, error) {
	answer, err := s.relay.call(ctx, build(typeRealpath).text(p).frame())
	if err != nil {
		return "", err
	}
	real, err := nameOf(answer)
	if err != nil || s.opts.Resolves {
		return real, err
	}
	return s.follow(ctx, real)
}

// nameOf is the one name of an answer to realpath or readlink.
func nameOf(answer []byte) (string, error) {
	if code, text, ok := status(answer); ok {
		if text == "" {
			text = fmt.Sprintf("status %d", code)
		}
		return "", &unresolved{code, text}
	}
	f := fieldsOf(answer)
	n, name := f.u32(), f.path()
	if frameType(answer) != typeName || n != 1 || f.bad {
		return "", errors.New("the server's sftp: an answer that names no path")
	}
	if !strings.HasPrefix(name, "/") || path.Clean(name) != name {
		return "", &unresolved{statusFailure, "the server's path is not absolute: " + bounded(name, 256)}
	}
	return name, nil
}

// maxLinks is how many links a path may lead through (Linux, MAXSYMLINKS).
const maxLinks = 40

// follow finds the links in an absolute path itself.
func (s *session) follow(ctx context.Context, p string) (string, error) {
	for range maxLinks {
		next, err := s.firstLink(ctx, p)
		if err != nil || next == "" {
			return p, err
		}
		p = next
	}
	return "", &unresolved{statusFailure, "too many symbolic links"}
}

// firstLink is the path with its first link replaced by what that says; empty where there is none.
func (s *session) firstLink(ctx context.Context, p string) (string, error) {
	var prefixes []string
	var answers []<-chan []byte
	for i := 1; i <= len(p); i++ {
		if i < len(p) && p[i] != '/' || i == 1 && len(p) == 1 {
			continue
		}
		answer, err := s.relay.begin(ctx, build(typeLstat).text(p[:i]).frame())
		if err != nil {
			return "", err
		}
		prefixes, answers = append(prefixes, p[:i]), append(answers, answer)
	}
	link := ""
	var failed error
	for i, a := range answers {
		answer, err := s.relay.wait(ctx, a)
		if err != nil {
			return "", err
		}
		if link != "" || failed != nil {
			continue // only taken
		}
		if code, text, ok := status(answer); ok {
			if last := i == len(answers)-1; !last || code != statusNoSuchFile {
				failed = &unresolved{code, text}
			}
			continue
		}
		f := fieldsOf(answer)
		switch attrs := f.attributes(); {
		case frameType(answer) != typeAttrs || f.bad:
			return "", errors.New("the server's sftp: an answer without attributes")
		case attrs.flags&attrPermissions == 0:
			failed = &unresolved{statusFailure, "the server does not say what is a symbolic link"}
		case attrs.permissions&modeType == modeLink:
			link = prefixes[i]
		}
	}
	if failed != nil || link == "" {
		return "", failed
	}
	to, err := s.readlink(ctx, link)
	if err != nil {
		return "", err
	}
	next := clean(to) + p[len(link):]
	if len(next) > maxPath {
		return "", &unresolved{statusFailure, "a path longer than can be"}
	}
	return clean(next), nil
}

// readlink is where a link leads, absolute but as it is written.
func (s *session) readlink(ctx context.Context, link string) (string, error) {
	answer, err := s.relay.call(ctx, build(typeReadlink).text(link).frame())
	if err != nil {
		return "", err
	}
	if code, text, ok := status(answer); ok {
		return "", &unresolved{code, text}
	}
	f := fieldsOf(answer)
	n, to := f.u32(), f.path()
	if frameType(answer) != typeName || n != 1 || f.bad {
		return "", errors.New("the server's sftp: an answer that names no path")
	}
	if !strings.HasPrefix(to, "/") {
		to = path.Dir(link) + "/" + to
	}
	return to, nil
}

// clean reads ".." by the text alone. The server would follow a link before it, and come elsewhere; but what is judged is
// also what is used, and it has no link in it.
func clean(p string) string { return path.Clean("/" + p) }

// isFolder asks what a path is. What cannot be asked is taken for a folder.
func (s *session) isFolder(ctx context.Context, p string) (bool, error) {
	answer, err := s.relay.call(ctx, build(typeLstat).text(p).frame())
	if err != nil {
		return false, err
	}
	if code, _, ok := status(answer); ok {
		return code != statusNoSuchFile, nil
	}
	f := fieldsOf(answer)
	a := f.attributes()
	return f.bad || a.flags&attrPermissions == 0 || a.permissions&modeType == modeFolder, nil
}
