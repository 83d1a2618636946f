package shell

import (
	"slices"
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// Simple reports whether text is one simple command whose words are all known, without redirections and assignments. It
// is then forwarded as Quote(argv), so that the remote shell cannot read it otherwise.
func Simple(text string) (argv []string, ok bool) {
	for i, variant := range variants[unknownShell] {
		w, file, ok := plainly(text, variant)
		if !ok || len(file.Stmts) != 1 {
			return nil, false
		}
		s := file.Stmts[0]
		call, isCall := s.Cmd.(*syntax.CallExpr)
		if !isCall || s.Negated || s.Background || s.Coprocess || s.Disown || len(s.Redirs) > 0 || len(call.Assigns) > 0 || len(call.Args) == 0 {
			return nil, false
		}
		words := make([]string, len(call.Args))
		for i, arg := range call.Args {
			word := w.word(arg, scope{})
			if !word.known() {
				return nil, false
			}
			words[i] = word.text
		}
		if i > 0 && !slices.Equal(words, argv) {
			return nil, false
		}
		argv = words
	}
	return argv, true
}

// plainly parses a text about which there is no doubt.
func plainly(text string, variant syntax.LangVariant) (*walker, *syntax.File, bool) {
	doubt, err := inspect(text)
	if err != nil || doubt != "" {
		return nil, nil, false
	}
	file, err := parse(text, variant)
	if err != nil {
		return nil, nil, false
	}
	return &walker{finder: newFinder(), by: unknownShell, source: text}, file, true
}

// Canonical returns a text that runs the same commands, written anew so that no shell can read other words in it: each as
// Quote writes it, between nothing but pipes, lists, groups, conditions and redirections of known files. It is what is
// to be forwarded where Simple says no. Where ok is false there is no such form (a word is not known, or the text holds
// something else, as a here-document or a function), and the text is forwarded as it is if the verdict allows it.
func Canonical(text string) (canonical string, ok bool) {
	f := newFinder()
	read, err := f.readText(text, unknownShell, 0)
	if err != nil || read.err != nil || read.doubt != "" {
		return "", false
	}
	w, file, ok := plainly(text, syntax.LangPOSIX)
	if !ok || len(file.Stmts) == 0 {
		return "", false
	}
	p := printer{walker: w}
	p.list(file.Stmts)
	if p.lost || w.err != nil || w.doubt != "" {
		return "", false
	}
	return p.String(), true
}

// printer writes a syntax tree; it is lost where something has no form that every shell reads alike.
type printer struct {
	*walker
	strings.Builder
	lost bool
}

func (p *printer) list(stmts []*syntax.Stmt) {
	for i, s := range stmts {
		p.stmt(s)
		switch {
		case s.Background:
			p.WriteString(" &")
		case i < len(stmts)-1:
			p.WriteByte(';')
		}
		if i < len(stmts)-1 {
			p.WriteByte(' ')
		}
	}
}

// closed is a list in front of a word that ends it.
func (p *printer) closed(before string, stmts []*syntax.Stmt, after string) {
	p.WriteString(before)
	p.list(stmts)
	if len(stmts) > 0 && !stmts[len(stmts)-1].Background {
		p.WriteByte(';')
	}
	p.WriteString(after)
}

func (p *printer) stmt(s *syntax.Stmt) {
	if !p.enter() {
		return
	}
	defer p.leave()
	if s.Coprocess || s.Disown {
		p.lost = true
	}
	if s.Negated {
		p.WriteString("! ")
	}
	switch cmd := s.Cmd.(type) {
	case nil:
	case *syntax.CallExpr:
		p.call(cmd)
	case *syntax.BinaryCmd:
		p.stmt(cmd.X)
		switch cmd.Op {
		case syntax.AndStmt:
			p.WriteString(" && ")
		case syntax.OrStmt:
			p.WriteString(" || ")
		case syntax.Pipe:
			p.WriteString(" | ")
		default:
			p.lost = true
		}
		p.stmt(cmd.Y)
	case *syntax.Subshell:
		p.closed("( ", cmd.Stmts, " )")
	case *syntax.Block:
		p.closed("{ ", cmd.Stmts, " }")
	case *syntax.IfClause:
		p.conditional(cmd)
	case *syntax.WhileClause:
		word := "while "
		if cmd.Until {
			word = "until "
		}
		p.closed(word, cmd.Cond, " do ")
		p.closed("", cmd.Do, " done")
	default:
		p.lost = true
	}
	for _, r := range s.Redirs {
		p.redirection(r)
	}
}

func (p *printer) conditional(c *syntax.IfClause) {
	p.closed("if ", c.Cond, " then ")
	p.closed("", c.Then, " ")
	for e := c.Else; e != nil; e = e.Else {
		if len(e.Cond) > 0 {
			p.closed("elif ", e.Cond, " then ")
			p.closed("", e.Then, " ")
		} else {
			p.closed("else ", e.Then, " ")
		}
	}
	p.WriteString("fi")
}

func (p *printer) call(c *syntax.CallExpr) {
	if len(c.Args) > 0 && c.Args[0].Lit() == "time" {
		p.lost = true // bash's keyword, which in quotes is a program
	}
	for i, a := range c.Assigns {
		if a.Append || a.Naked || a.Index != nil || a.Array != nil || a.Name == nil {
			p.lost = true
			return
		}
		if i > 0 {
			p.WriteByte(' ')
		}
		p.WriteString(a.Name.Value)
		p.WriteByte('=')
		if a.Value != nil {
			p.known(a.Value)
		}
	}
	for i, arg := range c.Args {
		if i+len(c.Assigns) > 0 {
			p.WriteByte(' ')
		}
		p.known(arg)
	}
}

func (p *printer) known(n *syntax.Word) {
	word := p.word(n, scope{})
	if !word.known() {
		p.lost = true
		return
	}
	quote(&p.Builder, word.text)
}

func (p *printer) redirection(r *syntax.Redirect) {
	p.WriteByte(' ')
	if r.N != nil {
		p.WriteString(r.N.Value)
	}
	switch r.Op {
	case syntax.RdrIn, syntax.RdrOut, syntax.AppOut, syntax.RdrClob, syntax.RdrInOut:
		p.WriteString(r.Op.String())
		p.known(r.Word)
	case syntax.DplIn, syntax.DplOut:
		if !descriptor(r.Word) {
			p.lost = true
			return
		}
		p.WriteString(r.Op.String() + r.Word.Lit())
	default:
		p.lost = true
	}
}
