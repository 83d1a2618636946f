package cel

import (
	"fmt"
	"slices"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/ast"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
)

// checkFields refuses a field of `command` that the protocol does not have: the evaluator itself would find it
// only when the rule is asked.
func checkFields(a *cel.Ast, known map[string]bool, protocol policy.Protocol) error {
	var wrong string
	ast.PostOrderVisit(a.NativeRep().Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		if e.Kind() != ast.SelectKind || wrong != "" {
			return
		}
		s := e.AsSelect()
		if of := s.Operand(); of.Kind() == ast.IdentKind && of.AsIdent() == "command" && !known[s.FieldName()] {
			wrong = s.FieldName()
		}
	}))
	if wrong == "" {
		return nil
	}
	names := make([]string, 0, len(known))
	for name := range known {
		names = append(names, name)
	}
	slices.Sort(names)
	return fmt.Errorf("command.%s: a %s command has only %v", wrong, protocol, names)
}
