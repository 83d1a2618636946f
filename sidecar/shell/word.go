package shell

import (
	"strings"
	"unicode/utf8"

	"mvdan.cc/sh/v3/syntax"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
)

// word is one word of a command, or several that cannot be told.
type word struct {
	text string
	// why, where not empty, says why the word is not known; text is then policy.Unknown.
	why string
}

func (w word) known() bool { return w.why == "" }

func unknown(why string) word { return word{text: policy.Unknown, why: why} }

// word reads one word as every shell does that may read the text, and finds the commands of the substitutions in it.
func (w *walker) word(n *syntax.Word, s scope) word {
	var b strings.Builder
	why := ""
	because := func(reason string) {
		if why == "" {
			why = reason
		}
	}
	for i, part := range n.Parts {
		switch part := part.(type) {
		case *syntax.Lit:
			because(unquoted(&b, part.Value, i == 0, len(n.Parts) == 1))
		case *syntax.SglQuoted:
			if part.Dollar {
				because("$'...' is not read alike by all shells")
			}
			b.WriteString(part.Value)
		case *syntax.DblQuoted:
			if part.Dollar {
				because(`$"..." is not read alike by all shells`)
			}
			for _, inner := range part.Parts {
				if lit, ok := inner.(*syntax.Lit); ok {
					because(doubleQuoted(&b, lit.Value))
				} else {
					because(w.expansion(inner, s))
				}
			}
		default:
			because(w.expansion(part, s))
		}
	}
	if why != "" {
		return unknown(why)
	}
	return word{text: b.String()}
}

// substitutions finds the commands in a word whose value is of no use.
func (w *walker) substitutions(n *syntax.Word, s scope) {
	if n != nil {
		w.word(n, s)
	}
}

// expansion finds the commands in a part of a word that a shell replaces, and says what it is replaced by.
func (w *walker) expansion(part syntax.WordPart, s scope) (why string) {
	switch part := part.(type) {
	case *syntax.CmdSubst:
		w.substitution(part, s)
		return "the output of a command is not known before it runs"
	case *syntax.ParamExp:
		return w.parameter(part, s)
	case *syntax.ArithmExp:
		w.arithmetic(part, s)
		return "arithmetic is not computed here"
	case *syntax.ProcSubst:
		w.process(part, s)
		return "a process substitution is a file whose name is not known"
	case *syntax.ExtGlob:
		return "a pattern stands for files that are not known"
	}
	w.suspect("it holds a kind of expansion that is not known here")
	return "an expansion that is not known here"
}

func (w *walker) parameter(p *syntax.ParamExp, s scope) (why string) {
	if !w.enter() {
		return "nested too deeply"
	}
	defer w.leave()
	if p.NestedParam != nil || len(p.Modifiers) > 0 || p.Flags != nil || p.Excl && p.Names == 0 {
		// ${!a}: the value of a is the name of a variable, with a subscript perhaps, which is evaluated.
		w.evaluates(s)
	}
	if p.Index != nil {
		w.arithmetic(p.Index, s)
	}
	if p.Slice != nil {
		w.evaluates(s)
		for _, x := range []syntax.ArithmExpr{p.Slice.Offset, p.Slice.Length} {
			if x != nil {
				w.arithmetic(x, s)
			}
		}
	}
	if p.Repl != nil {
		w.substitutions(p.Repl.Orig, s)
		w.substitutions(p.Repl.With, s)
	}
	if p.Exp != nil {
		w.substitutions(p.Exp.Word, s)
		switch p.Exp.Op {
		case syntax.AssignUnset, syntax.AssignUnsetOrNull:
			if p.Param == nil || !harmlessVariable(p.Param.Value) {
				w.suspect("it sets a variable that may change what runs")
			}
		case syntax.OtherParamOps: // ${a@P} expands the value as a prompt, with the substitutions in it
			w.evaluates(s)
		}
	}
	if p.Param == nil {
		return "the value of a variable is not known"
	}
	return "the value of $" + p.Param.Value + " is not known"
}

// unquoted appends what shells make of the text of a word outside quotes, and says why that is not known. begins: it is
// the word's beginning; alone: it is the whole word.
func unquoted(b *strings.Builder, text string, begins, alone bool) (why string) {
	if alone && text == "[" { // the program; as a pattern it would have an end
		b.WriteString(text)
		return ""
	}
	for i := 0; i < len(text); i++ {
		switch c := text[i]; c {
		case '\\':
			i++
			if i == len(text) {
				return "a backslash at the end is not read alike by all shells"
			}
			if text[i] == '\n' { // a line that goes on, which the parser leaves here behind a quoted backslash
				continue
			}
			_, n := utf8.DecodeRuneInString(text[i:])
			b.WriteString(text[i : i+n])
			i += n - 1
			continue
		case '*', '?', '[':
			return "a pattern stands for files that are not known"
		case '~':
			return "a tilde stands for a folder that is not known"
		case '{':
			if i+1 < len(text) && text[i+1] == '}' { // as find and xargs write it
				b.WriteString("{}")
				i++
				continue
			}
			return "braces are not read alike by all shells"
		case '}':
			return "braces are not read alike by all shells"
		case '=':
			if begins && i == 0 && len(text) > 1 {
				return "a word that begins with = is not read alike by all shells"
			}
		case '$', '`', '"', '\'', '|', '&', ';', '<', '>', '(', ')', ' ', '\t', '\n':
			return "it was not understood"
		}
		b.WriteByte(text[i])
	}
	return ""
}

// doubleQuoted appends what shells make of the text of a word between double quotes (POSIX XCU 2.2.3).
func doubleQuoted(b *strings.Builder, text string) (why string) {
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c == '\\' && i+1 < len(text) {
			switch text[i+1] {
			case '$', '`', '"', '\\':
				i++
				c = text[i]
			case '\n':
				i++
				continue
			}
		} else if c == '$' || c == '`' || c == '"' {
			// A dollar sign before nothing that could be a name is itself; what could be one is not the same everywhere.
			return "a dollar sign by itself is not read alike by all shells"
		}
		b.WriteByte(c)
	}
	return ""
}
