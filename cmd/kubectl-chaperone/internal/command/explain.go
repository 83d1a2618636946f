package command

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
	"github.com/chaperone-dev/chaperone/cmd/kubectl-chaperone/internal/cluster"
)

// mostRefused is how many refusals are listed.
const mostRefused = 20

func (e *environment) explainPod() *cobra.Command {
	var o output
	var since string
	cmd := &cobra.Command{
		Use:   "explain POD",
		Short: "Say which policies apply to a pod, whether it is protected, and what was refused lately",
		Long: "Say which policies and targets apply to a pod, whether it is protected, which generation of each policy its sidecar\n" +
			"holds, what waits for people and what was refused lately, by which rule.\n\n" +
			"What its reader may not see is left out, and said: the generation comes from the sidecar's log (get on pods/log),\n" +
			"what was refused from the recordings (ClusterRole chaperone-auditor).",
		Example:           "  kubectl chaperone explain billing-agent-7d9f4 -n agents\n  kubectl chaperone explain billing-agent-7d9f4 -n agents --since 10m",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: e.names(podNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.check(); err != nil {
				return err
			}
			now := time.Now()
			from, err := moment("since", since, now)
			if err != nil {
				return err
			}
			c, err := e.connect()
			if err != nil {
				return err
			}
			pod, err := c.Pod(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			policies, err := c.Policies(cmd.Context(), c.Namespace)
			if err != nil {
				return err
			}
			x := explain(pod, policies.Items, now)
			if x.Protected {
				x.held(cmd.Context(), c, policies.Items)
			}
			x.pending(cmd.Context(), c, pod)
			x.refused(cmd.Context(), c, pod, window{from: from})
			if o.documents() {
				return o.value(e.Out, x)
			}
			return e.showExplanation(x, &o, since)
		},
	}
	o.bind(cmd, "json", "yaml", "wide")
	cmd.Flags().StringVar(&since, "since", "24h", "how long ago a refusal may be: a duration, a date or a moment")
	_ = cmd.RegisterFlagCompletionFunc("since", cobra.NoFileCompletions)
	return cmd
}

// held finds which generations the sidecar holds.
func (x *explanation) held(ctx context.Context, c *cluster.Cluster, policies []v1alpha1.AgentPolicy) {
	var held map[string]int64
	log, err := c.SidecarLog(ctx, x.Pod)
	if err == nil {
		held = heldByLog(log)
		_ = log.Close()
	}
	missing := false
	for i := range x.Policies {
		p := &x.Policies[i]
		if p.Held = held[p.Name]; p.Held > 0 {
			p.HeldFrom = "the sidecar's log"
			continue
		}
		j := slices.IndexFunc(policies, func(ap v1alpha1.AgentPolicy) bool { return ap.Name == p.Name })
		if p.Held = heldByAll(&policies[j]); p.Held > 0 {
			p.HeldFrom = "the policy's status: all sidecars hold it"
		} else {
			missing = true
		}
	}
	switch {
	case missing && err != nil:
		x.Unknown = append(x.Unknown, fmt.Sprintf("which generation the sidecar holds: %v", err))
	case missing:
		x.Unknown = append(x.Unknown, "which generation the sidecar holds: its log does not say any more")
	}
}

func (x *explanation) pending(ctx context.Context, c *cluster.Cluster, pod *corev1.Pod) {
	requests, err := c.Approvals(ctx, c.Namespace)
	if err != nil {
		x.Unknown = append(x.Unknown, "what waits for people: "+err.Error())
		return
	}
	for i := range requests.Items {
		if r := &requests.Items[i]; r.Spec.Pod.UID == pod.UID && pending(r) {
			x.Pending = append(x.Pending, r.Name)
		}
	}
}

// refused looks through the pod's recordings, the newest first.
func (x *explanation) refused(ctx context.Context, c *cluster.Cluster, pod *corev1.Pod, w window) {
	recordings, err := c.Recordings(ctx, c.Namespace)
	if err != nil {
		x.Unknown = append(x.Unknown, "what was refused: "+err.Error())
		return
	}
	var of []v1alpha1.SessionRecording
	q := recordingQuery{window: w}
	denied := int64(0)
	for _, r := range q.filter(recordings.Items, time.Now()) {
		if r.Spec.Pod.UID == pod.UID {
			of = append(of, r)
			denied += r.Status.Counts.Denied
		}
	}
	commands := commandQuery{refused: true}
	if err := commands.check(); err != nil {
		x.Unknown = append(x.Unknown, err.Error())
		return
	}
	// All of a log has to be read for its last refusals, so that the bound is on what is shown.
	found, err := commands.search(ctx, c, of, w, reading{parallel: parallelReads})
	if err != nil {
		x.Unknown = append(x.Unknown, fmt.Sprintf("all that was refused (the recordings count %d): %v", denied, err))
	}
	newestFirst(found)
	x.Refused = found[:min(len(found), mostRefused)]
}

func (e *environment) showExplanation(x *explanation, o *output, since string) error {
	s := &sheet{paint: e.paint}
	s.add("Pod", x.Namespace+"/"+x.Pod)
	protected, of := "NO", red
	if x.Protected {
		protected, of = "yes", green
	}
	s.styled("Protected", of, protected+": "+x.Why)
	if x.Sidecar != "" {
		s.add("Sidecar", x.Sidecar)
	}
	for i, name := range x.Pending {
		label := ""
		if i == 0 {
			label = "Waits for"
		}
		s.styled(label, yellow, "approval "+name)
	}
	for _, u := range x.Unknown {
		s.styled("Not known", faint, u)
	}
	if _, err := io.WriteString(e.Out, s.b.String()); err != nil {
		return err
	}
	var policies, targets [][]string
	for _, p := range x.Policies {
		held := "?"
		if p.Held > 0 {
			held = fmt.Sprint(p.Held)
		}
		egress := fmt.Sprintf("%s, %d allowed", p.Unmatched, p.Allowed)
		policies = append(policies, []string{p.Name, p.Enforcement, fmt.Sprint(p.Generation), held, p.HeldFrom, p.Ready, egress, p.Message})
	}
	for _, t := range x.Targets {
		targets = append(targets, []string{t.Name, t.Policy, t.Protocol, t.Address, fmt.Sprint(t.Rules), t.Default, fmt.Sprint(t.Masking), t.Access, t.Credentials})
	}
	for _, part := range []struct {
		title   string
		columns []column
		rows    [][]string
	}{
		{"", policyColumns, policies}, {"", targetColumns, targets},
		{"Refused since " + since + " ago:", refusedColumns, refusedRows(x.Refused)},
	} {
		if len(part.rows) == 0 {
			continue
		}
		if _, err := fmt.Fprintln(e.Out, "\n"+part.title); err != nil {
			return err
		}
		if err := newTable(e.Out, e.paint, part.columns, func(_ int, c column) bool { return !c.wide || o.format == "wide" }).print(part.rows); err != nil {
			return err
		}
	}
	return nil
}

var policyColumns = []column{
	{name: "POLICY"}, {name: "ENFORCEMENT"}, {name: "GENERATION"}, {name: "HELD"}, {name: "HELD FROM", wide: true},
	{name: "READY", styled: true}, {name: "OTHER DESTINATIONS"}, {name: "MESSAGE"},
}

var targetColumns = []column{
	{name: "TARGET"}, {name: "POLICY"}, {name: "PROTOCOL"}, {name: "ADDRESS"}, {name: "RULES"}, {name: "ELSE"}, {name: "MASKING", wide: true},
	{name: "ACCESS"}, {name: "CREDENTIALS", wide: true},
}

var refusedColumns = []column{
	{name: "TIME"}, {name: "TARGET"}, {name: "POLICY", wide: true}, {name: "RULE"}, {name: "BY", wide: true}, {name: "COMMAND"}, {name: "MESSAGE", wide: true}, {name: "RECORDING", wide: true}, {name: "NUMBER", wide: true},
}

func refusedRows(all []found) (rows [][]string) {
	for i := range all {
		f := &all[i]
		rows = append(rows, []string{f.Time.UTC().Format("2006-01-02 15:04:05"), f.Target, f.Policy, f.Rule, strings.Join(f.Deciders, ","), shorten(f.Text, 80), f.Message, f.Recording, f.Command})
	}
	return rows
}
