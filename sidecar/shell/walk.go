package shell

import (
	"mvdan.cc/sh/v3/syntax"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
)

// walker finds the commands in a text's syntax tree. Every kind of node that it does not know makes the text doubtful.
type walker struct {
	*finder
	by     dialect
	source string
	// functions are the names that the text gives to functions.
	functions map[string]bool
	// nested counts how deep the walk is: lists and expressions make trees that are deeper than what the parser's stack
	// was.
	nested int
	// keyword is the statement that stands behind bash's keyword time.
	keyword *syntax.Stmt
}

// maxNested bounds the walk's own recursion.
const maxNested = 1024

func (w *walker) enter() bool {
	if w.err != nil {
		return false
	}
	if w.nested >= maxNested {
		w.stop(errTooDeep)
		return false
	}
	w.nested++
	return true
}

func (w *walker) leave() { w.nested-- }

// declared notes the functions of the text, which its commands may call before and after they are declared.
func (w *walker) declared(file *syntax.File) {
	w.each(file, func(n syntax.Node) bool {
		if fn, ok := n.(*syntax.FuncDecl); ok {
			if w.functions == nil {
				w.functions = make(map[string]bool)
			}
			if fn.Name == nil {
				w.suspect("it declares a function without a name")
				return true
			}
			w.functions[fn.Name.Value] = true
		}
		return true
	})
}

// each is syntax.Walk within maxNested.
func (w *walker) each(root syntax.Node, visit func(syntax.Node) bool) {
	depth := 0
	syntax.Walk(root, func(n syntax.Node) bool {
		if n == nil {
			depth--
			return false
		}
		if depth >= maxNested {
			w.stop(errTooDeep)
		}
		if w.err != nil || !visit(n) {
			return false
		}
		depth++
		return true
	})
}

func (w *walker) stmts(list []*syntax.Stmt, s scope) {
	for _, stmt := range list {
		w.stmt(stmt, s)
	}
}

func (w *walker) stmt(stmt *syntax.Stmt, s scope) {
	if !w.enter() {
		return
	}
	defer w.leave()
	if stmt.Coprocess || stmt.Disown {
		w.suspect("it starts a coprocess")
	}
	call, simple := stmt.Cmd.(*syntax.CallExpr)
	for _, r := range stmt.Redirs {
		w.redirect(r, &s)
	}
	switch {
	case simple:
		if stmt == w.keyword {
			s = s.through("time")
			s.by = w.by
		}
		w.call(call, s)
		return
	case stmt.Cmd == nil || len(stmt.Redirs) > 0:
		// A redirection by itself, or around a compound command, opens its files as `:` would.
		w.null(s)
	}
	s.reads, s.writes = nil, nil
	switch cmd := stmt.Cmd.(type) {
	case nil:
	case *syntax.BinaryCmd:
		w.binary(cmd, s)
	case *syntax.Subshell:
		w.stmts(cmd.Stmts, s)
	case *syntax.Block:
		w.stmts(cmd.Stmts, s)
	case *syntax.IfClause:
		for c := cmd; c != nil; c = c.Else {
			w.stmts(c.Cond, s)
			w.stmts(c.Then, s)
		}
	case *syntax.WhileClause:
		w.stmts(cmd.Cond, s)
		w.stmts(cmd.Do, s)
	case *syntax.ForClause:
		w.loop(cmd, s)
	case *syntax.CaseClause:
		w.substitutions(cmd.Word, s)
		for _, item := range cmd.Items {
			for _, p := range item.Patterns {
				w.substitutions(p, s)
			}
			w.stmts(item.Stmts, s)
		}
	case *syntax.FuncDecl:
		w.stmt(cmd.Body, s)
	case *syntax.TimeClause:
		if cmd.Stmt == nil {
			return
		}
		w.timed(cmd.Stmt)
		w.stmt(cmd.Stmt, s)
	case *syntax.DeclClause:
		w.declaration(cmd, s)
	case *syntax.TestClause:
		w.test(cmd.X, s)
	case *syntax.ArithmCmd:
		w.arithmetic(cmd, s)
	case *syntax.LetClause:
		w.arithmetic(cmd, s)
	case *syntax.CoprocClause:
		w.suspect("it starts a coprocess")
		w.stmt(cmd.Stmt, s)
	default:
		w.suspect("it holds a kind of command that is not known here")
	}
}

// null is the command without words.
func (w *walker) null(s scope) {
	w.add(s.with(policy.Argv{Program: ":", Path: ":"}))
}

// binary is a chain of commands joined by the same or other operators; the parser nests it to the left, one level each.
func (w *walker) binary(cmd *syntax.BinaryCmd, s scope) {
	var right []*syntax.Stmt
	left := cmd.X
	right = append(right, cmd.Y)
	for {
		next, ok := left.Cmd.(*syntax.BinaryCmd)
		if !ok || len(left.Redirs) > 0 || left.Coprocess || left.Disown {
			break
		}
		left = next.X
		right = append(right, next.Y)
	}
	w.stmt(left, s)
	for i := len(right) - 1; i >= 0; i-- {
		w.stmt(right[i], s)
	}
}

// timed says that a program in front of a statement is bash's keyword time; for other shells it is a program, which runs
// the statement's first command.
func (w *walker) timed(stmt *syntax.Stmt) {
	for {
		chain, ok := stmt.Cmd.(*syntax.BinaryCmd)
		if !ok {
			break
		}
		stmt = chain.X
	}
	if _, ok := stmt.Cmd.(*syntax.CallExpr); ok {
		w.keyword = stmt
	}
}

func (w *walker) loop(cmd *syntax.ForClause, s scope) {
	switch l := cmd.Loop.(type) {
	case *syntax.WordIter:
		for _, item := range l.Items {
			w.substitutions(item, s)
		}
		if !harmlessVariable(l.Name.Value) {
			w.suspect("it sets " + l.Name.Value + ", which may change what runs")
		}
	case *syntax.CStyleLoop:
		w.arithmetic(l, s)
	default:
		w.suspect("it holds a kind of loop that is not known here")
	}
	w.stmts(cmd.Do, s)
}

func (w *walker) test(x syntax.TestExpr, s scope) {
	if !w.enter() {
		return
	}
	defer w.leave()
	switch x := x.(type) {
	case *syntax.Word:
		w.substitutions(x, s)
	case *syntax.ParenTest:
		w.test(x.X, s)
	case *syntax.UnaryTest:
		if x.Op == syntax.TsVarSet || x.Op == syntax.TsRefVar {
			w.evaluates(s)
		}
		w.test(x.X, s)
	case *syntax.BinaryTest:
		switch x.Op {
		case syntax.TsEql, syntax.TsNeq, syntax.TsLeq, syntax.TsGeq, syntax.TsLss, syntax.TsGtr:
			w.evaluates(s)
		}
		w.test(x.X, s)
		w.test(x.Y, s)
	default:
		w.suspect("it holds a kind of test that is not known here")
	}
}

// evaluates is for arithmetic: bash takes the values of variables in it for expressions, and a subscript in one may hold
// a command substitution.
func (w *walker) evaluates(s scope) {
	w.add(s.with(unseen(nil, "arithmetic evaluates the values of variables")))
}

// arithmetic finds the substitutions in an arithmetic expression or in what holds one. Only digits and operators between
// them evaluate nothing else.
func (w *walker) arithmetic(n syntax.Node, s scope) {
	plainly := true
	for i := n.Pos().Offset(); i < n.End().Offset() && i < uint(len(w.source)); i++ {
		switch c := w.source[i]; {
		case c >= '0' && c <= '9', c == '+', c == '*', c == '/', c == ' ', c == '<', c == '>':
		case c == '$' && i == n.Pos().Offset(), c == '(' && i <= n.Pos().Offset()+2, c == ')' && i+2 >= n.End().Offset(), c == '-':
		default:
			plainly = false
		}
	}
	if plainly {
		return
	}
	w.evaluates(s)
	w.each(n, func(n syntax.Node) bool {
		switch n := n.(type) {
		case *syntax.CmdSubst:
			w.substitution(n, s)
			return false
		case *syntax.ProcSubst:
			w.process(n, s)
			return false
		}
		return true
	})
}

// substitution runs the commands of $(...).
func (w *walker) substitution(n *syntax.CmdSubst, s scope) {
	if !w.enter() {
		return
	}
	defer w.leave()
	if n.TempFile || n.ReplyVar {
		w.suspect("it holds a substitution that only some shells know")
	}
	if n.Backquotes {
		for i := n.Pos().Offset(); i < n.End().Offset() && i < uint(len(w.source)); i++ {
			if w.source[i] == '\\' {
				w.suspect("it holds a backslash between backquotes, which shells do not read alike")
			}
		}
	}
	w.stmts(n.Stmts, s.inside())
}

func (w *walker) process(n *syntax.ProcSubst, s scope) {
	if !w.enter() {
		return
	}
	defer w.leave()
	w.stmts(n.Stmts, s.inside())
}

// inside is the scope of the commands of a substitution: what belongs to the command around them is not theirs.
func (s scope) inside() scope {
	s.assigns, s.reads, s.writes, s.why = nil, nil, nil, ""
	s.substituted = true
	return s
}
