package program

import (
	"fmt"
	"slices"
	"strings"

	"mvdan.cc/sh/v3/interp"
	"mvdan.cc/sh/v3/syntax"
)

// setByServer says that a shell on the server would have set the variable.
func setByServer(name string) bool {
	switch name {
	case "HOME", "USER", "LOGNAME", "PATH", "SHELL", "MAIL", "PWD", "OLDPWD", "TERM", "LANG", "TZ", "HOSTNAME", "HOSTTYPE", "OSTYPE", "MACHTYPE",
		"UID", "EUID", "GID", "GROUPS", "SHLVL", "BASH", "DIRSTACK", "TMPDIR", "ENV":
		return true
	}
	for _, prefix := range []string{"LC_", "SSH_", "XDG_", "BASH_"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// check returns what a program says that cannot be run right, or not without this machine's own files or processes.
func check(file *syntax.File) error {
	var refused error
	syntax.Walk(file, func(n syntax.Node) bool {
		if n == nil || refused != nil {
			return false
		}
		if why := objection(n); why != "" {
			refused = &Refusal{Why: fmt.Sprintf("line %d: %s", n.Pos().Line(), why)}
		}
		return refused == nil
	})
	return refused
}

func objection(n syntax.Node) string {
	switch n := n.(type) {
	case *syntax.ProcSubst:
		return "process substitution is not available"
	case *syntax.CoprocClause:
		return "coprocesses are not available"
	case *syntax.Stmt:
		if n.Background || n.Coprocess || n.Disown {
			return "background jobs are not available"
		}
	case *syntax.ForClause:
		if n.Select {
			return "select is not available"
		}
	case *syntax.Redirect:
		return objectionToRedirect(n)
	case *syntax.FuncDecl:
		if n.Name != nil && interp.IsBuiltin(n.Name.Value) {
			return "a function named " + n.Name.Value + " is not available"
		}
	case *syntax.DeclClause:
		for _, a := range n.Args {
			if a.Value != nil && a.Name == nil && slices.Contains([]string{"-f", "-F", "-p", "-pf", "-fp"}, a.Value.Lit()) {
				return n.Variant.Value + " " + a.Value.Lit() + " is not available"
			}
		}
	case *syntax.ArrayExpr:
		// The interpreter panics at `declare -A a=(0)`, and whether -A is said may come from a variable.
		return "lists of values in an assignment are not available"
	case *syntax.Assign:
		// The parser lets an assignment to no name through (`+=0[`), at which the interpreter panics.
		if n.Name != nil && n.Name.Value == "" {
			return "an assignment has no name"
		}
	case *syntax.Word:
		return objectionToWord(n)
	case *syntax.Lit:
		// Arithmetic, declare -p and references read it by its name alone.
		if strings.Contains(n.Value, "PPID") {
			return "process ids are not available"
		}
	case *syntax.ParamExp:
		return objectionToParameter(n)
	case *syntax.UnaryTest:
		switch n.Op {
		case syntax.TsFdTerm:
			return "test -t is not available"
		case syntax.TsEmpStr, syntax.TsNempStr, syntax.TsNot, syntax.TsParen, syntax.TsOptSet, syntax.TsVarSet, syntax.TsRefVar:
		default:
			return "tests of files in [[ ]] are not available; [ ] asks the server"
		}
	case *syntax.BinaryTest:
		switch n.Op {
		case syntax.TsNewer, syntax.TsOlder, syntax.TsDevIno:
			return "tests of files in [[ ]] are not available; [ ] asks the server"
		}
	}
	return ""
}

func objectionToRedirect(r *syntax.Redirect) string {
	switch r.Op {
	case syntax.Hdoc, syntax.DashHdoc, syntax.WordHdoc:
		return ""
	case syntax.DplIn, syntax.DplOut:
		if lit := r.Word.Lit(); len(lit) == 1 && (lit >= "0" && lit <= "2" || lit == "-") {
			return ""
		}
	case syntax.RdrIn, syntax.RdrOut, syntax.AppOut, syntax.RdrClob, syntax.RdrAll, syntax.AppAll:
		if r.Word.Lit() == "/dev/null" {
			return ""
		}
	}
	return "redirections other than to /dev/null and between descriptors 0 to 2 are not available"
}

func objectionToWord(w *syntax.Word) string {
	for _, part := range w.Parts {
		if lit, ok := part.(*syntax.Lit); ok && strings.Contains(lit.Value, "~") {
			return "~ is not available: commands begin in the user's home, so a relative path is there; quote it to mean the character"
		}
	}
	copied := syntax.Word{Parts: append([]syntax.WordPart(nil), w.Parts...)}
	if syntax.SplitBraces(&copied) {
		return "brace expansion is not available"
	}
	return ""
}

func objectionToParameter(p *syntax.ParamExp) string {
	switch {
	case p.Excl:
		return "indirect expansion is not available"
	case p.Repl != nil:
		return "replacing in an expansion is not available"
	case p.Exp != nil && p.Exp.Op == syntax.OtherParamOps:
		return "expansion operators that begin with @ are not available"
	case p.Param != nil && setByServer(p.Param.Value):
		return p.Param.Value + " is the server's, and not known here; write its value"
	case p.Param != nil && (p.Param.Value == "$" || p.Param.Value == "PPID" || p.Param.Value == "BASHPID"):
		return "process ids are not available"
	}
	return ""
}
