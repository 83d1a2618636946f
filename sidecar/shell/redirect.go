package shell

import (
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// redirect adds the file that a redirection opens to the scope (POSIX XCU 2.7).
func (w *walker) redirect(r *syntax.Redirect, s *scope) {
	if r.N != nil && (len(r.N.Value) != 1 || !digits(r.N.Value)) {
		// {name}> is bash's; of 10> dash makes an argument.
		w.suspect("it redirects a descriptor that only some shells know")
	}
	switch r.Op {
	case syntax.Hdoc, syntax.DashHdoc:
		w.hereDocument(r, *s)
		return
	case syntax.WordHdoc:
		w.suspect("it holds a here-string, which only some shells know")
		w.substitutions(r.Word, *s)
		return
	}
	file := w.word(r.Word, *s)
	if !file.known() {
		*s = s.because(file.why)
	}
	if literal := r.Word.Lit(); digits(literal) && r.Op != syntax.DplIn && r.Op != syntax.DplOut {
		w.suspect("it redirects to a number, which shells take for a descriptor")
	}
	switch r.Op {
	case syntax.RdrIn:
		s.reads = joined(s.reads, []string{file.text})
	case syntax.RdrOut, syntax.AppOut, syntax.RdrClob:
		s.writes = joined(s.writes, []string{file.text})
	case syntax.RdrInOut:
		s.reads = joined(s.reads, []string{file.text})
		s.writes = joined(s.writes, []string{file.text})
	case syntax.DplIn, syntax.DplOut:
		if descriptor(r.Word) {
			return // another one, or closed
		}
		// >&file is >file 2>&1 for bash and a mistake for dash.
		s.writes = joined(s.writes, []string{file.text})
		w.suspect("it holds a redirection that shells do not read alike")
	default: // &> is a redirection for bash, and & and > for dash
		s.writes = joined(s.writes, []string{file.text})
		w.suspect("it holds a redirection that shells do not read alike")
	}
}

// descriptor reports whether the word behind <& or >& is one that every shell takes for a descriptor, or for closing it.
func descriptor(w *syntax.Word) bool {
	literal := w.Lit()
	return len(literal) == 1 && digits(literal) || literal == "-"
}

func digits(text string) bool { return text != "" && strings.Trim(text, "0123456789") == "" }

// hereDocument looks at the text that a command is given to read. Its end is told by a delimiter that shells find alike
// only if it is a plain word.
func (w *walker) hereDocument(r *syntax.Redirect, s scope) {
	quoted := false
	delimiter := ""
	for i, part := range r.Word.Parts {
		switch part := part.(type) {
		case *syntax.Lit:
			delimiter = part.Value
		case *syntax.SglQuoted:
			quoted, delimiter = !part.Dollar, part.Value
		case *syntax.DblQuoted:
			if lit, ok := soleLiteral(part); ok {
				quoted, delimiter = true, lit
			}
		}
		if i > 0 {
			delimiter = ""
		}
	}
	if delimiter == "" || strings.Trim(delimiter, letters) != "" {
		w.suspect("it holds a here-document whose end shells do not find alike")
	}
	if r.Hdoc == nil {
		return
	}
	if s.substituted {
		w.suspect("it holds a here-document inside a substitution")
	}
	if quoted {
		return
	}
	w.substitutions(r.Hdoc, s)
}

// letters are the characters of a delimiter of which nothing can be thought but that it is one.
const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"

func soleLiteral(q *syntax.DblQuoted) (string, bool) {
	if q.Dollar || len(q.Parts) != 1 {
		return "", false
	}
	lit, ok := q.Parts[0].(*syntax.Lit)
	if !ok {
		return "", false
	}
	return lit.Value, true
}
