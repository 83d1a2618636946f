package program

import "mvdan.cc/sh/v3/syntax"

// tick is the command that stands before every statement, so that a loop without commands is counted as well and the
// variables are measured before they are used again. No program can say it: a NUL byte is in no shell word.
const tick = "\x00tick"

// count puts a tick before every statement of every list.
func count(file *syntax.File) {
	syntax.Walk(file, func(n syntax.Node) bool {
		switch n := n.(type) {
		case *syntax.File:
			n.Stmts = ticked(n.Stmts)
		case *syntax.Block:
			n.Stmts = ticked(n.Stmts)
		case *syntax.Subshell:
			n.Stmts = ticked(n.Stmts)
		case *syntax.CmdSubst:
			n.Stmts = ticked(n.Stmts)
		case *syntax.WhileClause:
			n.Cond, n.Do = ticked(n.Cond), ticked(n.Do)
		case *syntax.ForClause:
			n.Do = ticked(n.Do)
		case *syntax.IfClause:
			n.Cond, n.Then = ticked(n.Cond), ticked(n.Then)
		case *syntax.CaseItem:
			n.Stmts = ticked(n.Stmts)
		}
		return true
	})
}

func ticked(stmts []*syntax.Stmt) []*syntax.Stmt {
	var out []*syntax.Stmt
	for _, s := range stmts {
		if isTick(s) {
			return stmts
		}
		out = append(out, newTick(), s)
	}
	return out
}

// newTick is `tick $? && tick 0`: it leaves $? as it was, and set -e does not end at the first of a list.
func newTick() *syntax.Stmt {
	call := func(status syntax.WordPart) *syntax.Stmt {
		name := &syntax.Word{Parts: []syntax.WordPart{&syntax.SglQuoted{Value: tick}}}
		return &syntax.Stmt{Cmd: &syntax.CallExpr{Args: []*syntax.Word{name, {Parts: []syntax.WordPart{&syntax.DblQuoted{Parts: []syntax.WordPart{status}}}}}}}
	}
	last := &syntax.ParamExp{Short: true, Param: &syntax.Lit{Value: "?"}}
	return &syntax.Stmt{Cmd: &syntax.BinaryCmd{Op: syntax.AndStmt, X: call(last), Y: call(&syntax.Lit{Value: "0"})}}
}

func isTick(s *syntax.Stmt) bool {
	list, ok := s.Cmd.(*syntax.BinaryCmd)
	if !ok {
		return false
	}
	call, ok := list.X.Cmd.(*syntax.CallExpr)
	if !ok || len(call.Args) == 0 || len(call.Args[0].Parts) != 1 {
		return false
	}
	q, ok := call.Args[0].Parts[0].(*syntax.SglQuoted)
	return ok && q.Value == tick
}
