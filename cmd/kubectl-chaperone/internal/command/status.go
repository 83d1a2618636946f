package command

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
	"github.com/chaperone-dev/chaperone/cmd/kubectl-chaperone/internal/cluster"
)

func (e *environment) status() *cobra.Command {
	var o output
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Say how Chaperone stands: operators, policies, pods, what waits, versions",
		Long: "Say how Chaperone stands: the operators, the policies and whether they are in force, how many pods they protect and\n" +
			"how many not, which generations and versions sidecars hold, and what waits for people; of a namespace, or with -A of\n" +
			"all. What its reader may not see is left out, and said.",
		Example: "  kubectl chaperone status -A\n  kubectl chaperone status -n agents -o json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.check(); err != nil {
				return err
			}
			c, err := e.connect()
			if err != nil {
				return err
			}
			s, err := e.standing(cmd.Context(), c, o.of(c.Namespace))
			if err != nil {
				return err
			}
			if o.documents() {
				return o.value(e.Out, s)
			}
			return e.showStanding(s, &o)
		},
	}
	o.bind(cmd, "json", "yaml", "wide")
	cmd.Flags().BoolVarP(&o.allNamespaces, "all-namespaces", "A", false, "of all namespaces")
	return cmd
}

// standing asks the cluster. Only that there are policies has to be readable.
func (e *environment) standing(ctx context.Context, c *cluster.Cluster, namespace string) (*standingNow, error) {
	s := &standingNow{Plugin: e.version, Operators: []standingOperator{}, Policies: []standingPolicy{}, Sidecars: []standingSidecars{}, Pending: []standingRequests{}}
	policies, err := c.Policies(ctx, namespace)
	if err != nil {
		return nil, err
	}
	unknown := func(what string, err error) bool {
		if err != nil {
			s.Unknown = append(s.Unknown, what+": "+err.Error())
		}
		return err != nil
	}
	if pods, err := c.Operators(ctx); !unknown("operators", err) {
		s.operators(pods.Items)
	}
	s.policies(policies.Items)
	if pods, err := c.Injected(ctx, namespace); !unknown("sidecars", err) {
		s.sidecars(pods.Items)
	}
	if requests, err := c.Approvals(ctx, namespace); !unknown("approvals", err) {
		s.approvals(requests.Items)
	}
	if recordings, err := c.Recordings(ctx, namespace); !unknown("recordings", err) {
		s.Records = map[string]int{}
		for i := range recordings.Items {
			s.Records[phaseOf(&recordings.Items[i])]++
		}
	}
	return s, nil
}

func (e *environment) showStanding(s *standingNow, o *output) error {
	var operators, policies, sidecars, pending [][]string
	for _, p := range s.Operators {
		operators = append(operators, []string{p.Namespace, p.Pod, yesNo(p.Ready), p.Image, fmt.Sprint(p.Restarts), age(time.Now(), p.Started)})
	}
	for _, p := range s.Policies {
		policies = append(policies, []string{p.Namespace, p.Name, p.Enforcement, p.Ready, p.Protecting, fmt.Sprint(p.Pods.Protected), fmt.Sprint(p.Pods.Unprotected), fmt.Sprint(p.Generation), heldText(p.Held)})
	}
	for _, p := range s.Sidecars {
		sidecars = append(sidecars, []string{p.Image, fmt.Sprint(p.Pods), fmt.Sprint(p.Ready)})
	}
	for _, p := range s.Pending {
		pending = append(pending, []string{p.Namespace, fmt.Sprint(p.Count), age(time.Now(), p.Oldest)})
	}
	for i, part := range []struct {
		none    string
		columns []column
		rows    [][]string
	}{
		{"", operatorColumns, operators},
		{"No policies.", standingColumns, policies},
		{"No pod runs behind a sidecar.", sidecarColumns, sidecars},
		{"Nothing waits for people.", pendingColumns, pending},
	} {
		if i > 0 {
			fmt.Fprintln(e.Out)
		}
		if len(part.rows) == 0 {
			if part.none != "" {
				fmt.Fprintln(e.Out, part.none)
			}
			continue
		}
		if err := newTable(e.Out, e.paint, part.columns, func(_ int, c column) bool { return !c.wide || o.format == "wide" }).print(part.rows); err != nil {
			return err
		}
	}
	sh := &sheet{paint: e.paint}
	if s.Records != nil {
		var counts []string
		for _, p := range phases {
			counts = append(counts, fmt.Sprintf("%d %s", s.Records[p], p))
		}
		sh.add("Recordings", strings.Join(counts, ", "))
	}
	sh.add("Plugin", s.Plugin)
	for _, p := range s.Problems {
		sh.styled("Problem", red, p)
	}
	for _, u := range s.Unknown {
		sh.styled("Not known", faint, u)
	}
	_, err := fmt.Fprint(e.Out, "\n"+sh.b.String())
	return err
}

var (
	operatorColumns = []column{{name: "OPERATOR IN"}, {name: "POD"}, {name: "READY", styled: true}, {name: "IMAGE"}, {name: "RESTARTS", wide: true}, {name: "AGE"}}
	standingColumns = []column{{name: "NAMESPACE"}, {name: "POLICY"}, {name: "ENFORCEMENT"}, {name: "READY", styled: true}, {name: "PROTECTING", styled: true}, {name: "PROTECTED"}, {name: "UNPROTECTED"}, {name: "GENERATION"}, {name: "SIDECARS HOLD"}}
	sidecarColumns  = []column{{name: "SIDECAR IMAGE"}, {name: "PODS"}, {name: "READY"}}
	pendingColumns  = []column{{name: "WAITING IN"}, {name: "REQUESTS"}, {name: "OLDEST"}}
)

// heldText is how many sidecars hold which generation.
func heldText(held []v1alpha1.GenerationCount) string {
	if len(held) == 0 {
		return "-"
	}
	var out []string
	for _, h := range held {
		out = append(out, fmt.Sprintf("%d: %d", h.Generation, h.Count))
	}
	return strings.Join(out, ", ")
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "NO"
}
