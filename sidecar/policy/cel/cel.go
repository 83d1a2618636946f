// Package cel evaluates the `when` of rules: CEL over the protocol's command. It is apart from package policy
// because the evaluator is large; linking this package is what makes `when` available.
package cel

import (
	"fmt"
	"sync"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/ext"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
)

// costLimit bounds one evaluation, in CEL's own units: about the number of operations. A statement may name
// some ten thousand objects, and a rule may look at each a few times.
const costLimit = 1_000_000

func init() { policy.Conditions = Compile } //nolint:gochecknoinits // importing the package is what makes `when` available

// environment is made when the first rule needs it: it allocates some megabytes, which a sidecar without such
// rules never spends.
var environment = sync.OnceValues(func() (*cel.Env, error) {
	return cel.NewEnv(
		ext.Strings(ext.StringsVersion(2)),
		cel.Variable("command", cel.MapType(cel.StringType, cel.DynType)),
	)
})

// fields are what `command` holds, for each protocol. A misspelt field is a mistake that compiling finds.
var fields = map[policy.Protocol]map[string]bool{
	policy.ProtocolPostgres:   sqlFields,
	policy.ProtocolKubernetes: withArgv(kubernetesFields),
	policy.ProtocolSSH:        withArgv(sshFields),
}

// Compile makes a condition of an expression over `command`, whose fields are those of its protocol (sqlFields, sshFields); text,
// what the agent sent, is in each. The error says what is wrong with the expression.
func Compile(protocol policy.Protocol, expression string) (policy.Condition, error) {
	known := fields[protocol]
	if known == nil {
		return nil, fmt.Errorf("rules for %s have no conditions yet", protocol)
	}
	env, err := environment()
	if err != nil {
		return nil, fmt.Errorf("making the CEL environment: %w", err)
	}
	ast, issues := env.Compile(expression)
	if issues != nil && issues.Err() != nil {
		return nil, issues.Err()
	}
	if t := ast.OutputType(); !t.IsExactType(cel.BoolType) {
		return nil, fmt.Errorf("the expression yields %s, not bool", t)
	}
	if err := checkFields(ast, known, protocol); err != nil {
		return nil, err
	}
	program, err := env.Program(ast, cel.CostLimit(costLimit), cel.EvalOptions(cel.OptOptimize))
	if err != nil {
		return nil, err
	}
	return &condition{program}, nil
}

type condition struct {
	program cel.Program
}

// Eval implements policy.Condition.
func (c *condition) Eval(cmd policy.Command) (bool, error) {
	out, _, err := c.program.Eval(map[string]any{"command": values(cmd)})
	if err != nil {
		return false, err
	}
	matched, ok := out.(types.Bool)
	if !ok {
		return false, fmt.Errorf("the expression yields %s, not bool", out.Type().TypeName())
	}
	return bool(matched), nil
}

func values(cmd policy.Command) map[string]any {
	if cmd.SQL != nil {
		return sqlValues(cmd)
	}
	if cmd.Kubernetes != nil {
		return kubernetesValues(cmd)
	}
	if cmd.SSH != nil {
		return sshValues(cmd)
	}
	return map[string]any{"text": cmd.Text}
}
