package command

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/chaperone-dev/chaperone/cmd/kubectl-chaperone/internal/judge"
)

func (e *environment) test() *cobra.Command {
	var o output
	var files []string
	cmd := &cobra.Command{
		Use:   "test -f POLICY CASES...",
		Short: "Judge commands by a policy that is not applied yet, and compare with what is expected",
		Long: "Judge commands by policies in files and compare the verdicts with what is expected of them, without a cluster: with\n" +
			"the operator's conversion, the sidecar's compiler and the sidecar's recognisers. Fails when a policy has a mistake or\n" +
			"when a case comes out otherwise, so that it can stand in a pipeline.\n\n" +
			"A file of cases is YAML. Each case holds one of sql, exec, shell, subsystem, forward, request and connect, and what is\n" +
			"expected: a verdict, or {verdict, rule, policy, message, audited}.\n\n" +
			"  defaults: {labels: {app: billing-agent}, target: billing}\n" +
			"  cases:\n" +
			"  - {sql: SELECT name FROM customers, expect: Allow}\n" +
			"  - {sql: DROP TABLE customers, expect: {verdict: Deny, rule: no-schema-change}}\n\n" +
			"What only a server knows (views, the columns of a table) is taken for unknown: a verdict is as strict as that of a\n" +
			"session, or stricter.",
		Example: "  kubectl chaperone test -f config/samples/billing.yaml billing-cases.yaml",
		Args: func(_ *cobra.Command, args []string) error {
			switch {
			case len(files) == 0:
				return errors.New("name the file with the policies with -f, and the file with the cases behind it")
			case len(args) == 0:
				return errors.New("name a file with cases: kubectl chaperone test --help shows one")
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			if err := o.check(); err != nil {
				return err
			}
			policies, err := e.policies(files)
			if err != nil {
				return err
			}
			var all []judge.Outcome
			for _, file := range args {
				text, err := e.readFile(file)
				if err != nil {
					return err
				}
				cases, err := judge.ParseCases(text)
				if err != nil {
					return fmt.Errorf("%s: %w", file, err)
				}
				all = append(all, policies.Judge(cases)...)
			}
			return e.outcomes(&o, all)
		},
	}
	o.bind(cmd, "json", "yaml", "wide")
	cmd.Flags().StringSliceVarP(&files, "filename", "f", nil, "a file with AgentPolicies, - for standard input; other objects in it are left alone")
	return cmd
}

func (e *environment) policies(files []string) (*judge.Policies, error) {
	namespace := "default"
	if n := e.flags.Namespace; n != nil && *n != "" {
		namespace = *n
	}
	policies := &judge.Policies{}
	for _, file := range files {
		text, err := e.readFile(file)
		if err != nil {
			return nil, err
		}
		if err := policies.Add(text, namespace); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
	}
	if policies.Len() == 0 {
		return nil, fmt.Errorf("no AgentPolicy in %s", listing(files, "and"))
	}
	return policies, nil
}

func (e *environment) readFile(file string) ([]byte, error) {
	if file == "-" {
		return io.ReadAll(e.In)
	}
	return os.ReadFile(file)
}

var outcomeColumns = []column{
	{name: "RESULT", styled: true}, {name: "CASE"}, {name: "TARGET"}, {name: "VERDICT", styled: true}, {name: "AUDITED", wide: true},
	{name: "POLICY", wide: true}, {name: "RULE"}, {name: "MESSAGE", wide: true}, {name: "WRONG"},
}

// outcomes prints what became of the cases; it fails when one is not what was expected.
func (e *environment) outcomes(o *output, all []judge.Outcome) error {
	failed := 0
	var rows [][]string
	for i := range all {
		r := &all[i]
		result := "ok"
		if !r.OK() {
			result = "FAIL"
			failed++
		}
		rows = append(rows, []string{result, shorten(r.Case, 72), r.Target, r.Verdict, r.Audited, r.Policy, r.Rule, r.Message, r.Wrong})
	}
	var err error
	if o.documents() {
		err = o.value(e.Out, map[string]any{"cases": all, "failed": failed})
	} else {
		err = newTable(e.Out, e.paint, outcomeColumns, func(_ int, c column) bool {
			return (!c.wide || o.format == "wide") && (c.name != "WRONG" || failed > 0)
		}).print(rows)
	}
	if err == nil && failed > 0 {
		return fmt.Errorf("%d of %d cases came out otherwise than expected", failed, len(all))
	}
	return err
}
