package command

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
	"github.com/chaperone-dev/chaperone/cmd/kubectl-chaperone/internal/cluster"
)

func (e *environment) recordings() *cobra.Command {
	var o output
	var q recordingQuery
	var commands commandQuery
	how := reading{}
	cmd := &cobra.Command{
		Use:     "recordings",
		Aliases: []string{"sessionrecordings", "rec"},
		Short:   "List the recordings of what agents did, and search them",
		Long: "List the recordings of what agents did, the newest first.\n\n" +
			"With --command, --verdict or --rule it reads the logs of those recordings and lists the commands in them; that\n" +
			"needs the right to read logs (ClusterRole chaperone-auditor). What is searched is what was recorded: masked, and\n" +
			"of a very long command the beginning.",
		Example: "  kubectl chaperone recordings -n agents\n" +
			"  kubectl chaperone recordings -A -o wide --agent billing --since 24h\n\n" +
			"  # what was refused today, and everything that touched a table\n" +
			"  kubectl chaperone recordings -n agents --verdict Deny --since 24h\n" +
			"  kubectl chaperone recordings -n agents --target billing --command customers\n" +
			"  kubectl chaperone recordings -n agents --command '/^(DROP|TRUNCATE) /' -o json",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.check(); err != nil {
				return err
			}
			if err := q.check(time.Now()); err != nil {
				return err
			}
			if err := commands.check(); err != nil {
				return err
			}
			if how.parallel < 1 || how.parallel > 64 {
				return fmt.Errorf("--parallel %d: 1 to 64", how.parallel)
			}
			c, err := e.connect()
			if err != nil {
				return err
			}
			namespace := o.of(c.Namespace)
			list, err := c.Recordings(cmd.Context(), namespace)
			if err != nil {
				return err
			}
			list.Items = q.filter(list.Items, time.Now())
			if commands.wanted() {
				return e.commands(cmd.Context(), c, &o, &commands, list.Items, q.window, how, namespace)
			}
			if printed, err := o.object(e.Out, list, "SessionRecordingList"); printed || err != nil {
				return err
			}
			if len(list.Items) == 0 {
				return o.nothing(e.ErrOut, "recordings", namespace)
			}
			return o.table(e.Out, e.paint, recordingColumns).print(recordingRows(list.Items, time.Now()))
		},
	}
	o.bindList(cmd)
	q.bind(e, cmd)
	cmd.Flags().StringVar(&commands.command, "command", "", "list the commands whose text holds this, in any case, or matches a /regular expression/")
	cmd.Flags().StringVar(&commands.verdict, "verdict", "", "list the commands with this verdict, given or by a policy in Audit: "+listing(verdicts, "or"))
	cmd.Flags().StringVar(&commands.rule, "rule", "", "list the commands that this rule decided")
	cmd.Flags().IntVar(&how.limit, "limit", 500, "list no more commands than this; 0 for all")
	cmd.Flags().IntVar(&how.parallel, "parallel", parallelReads, "read so many logs at once, up to 64")
	_ = cmd.RegisterFlagCompletionFunc("verdict", cobra.FixedCompletions(verdicts, cobra.ShellCompDirectiveNoFileComp))
	for _, flag := range []string{"command", "rule", "limit", "parallel"} {
		_ = cmd.RegisterFlagCompletionFunc(flag, cobra.NoFileCompletions)
	}
	return cmd
}

// recordingQuery says which recordings are listed.
type recordingQuery struct {
	agent, target, phase, since, until string
	window                             window
}

func (q *recordingQuery) bind(e *environment, cmd *cobra.Command) {
	cmd.Flags().StringVar(&q.agent, "agent", "", "of the agent with this in the name of its pod, its workload or its service account")
	cmd.Flags().StringVar(&q.target, "target", "", "of this target")
	cmd.Flags().StringVar(&q.phase, "phase", "", "in this phase: "+listing(phases, "or"))
	cmd.Flags().StringVar(&q.since, "since", "", "not before: so long ago (2h), a date or a moment")
	cmd.Flags().StringVar(&q.until, "until", "", "not after: so long ago (30m), a date or a moment")
	_ = cmd.RegisterFlagCompletionFunc("phase", cobra.FixedCompletions(phases, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("since", cobra.NoFileCompletions)
	_ = cmd.RegisterFlagCompletionFunc("until", cobra.NoFileCompletions)
	of := func(name func(*v1alpha1.SessionRecording) string) completion {
		return e.values(func(c *cluster.Cluster, ctx context.Context) ([]string, error) {
			list, err := c.Recordings(ctx, c.Namespace)
			if err != nil {
				return nil, err
			}
			var out []string
			for i := range list.Items {
				out = append(out, name(&list.Items[i]))
			}
			slices.Sort(out)
			return slices.Compact(out), nil
		})
	}
	_ = cmd.RegisterFlagCompletionFunc("agent", of(func(r *v1alpha1.SessionRecording) string { return r.Spec.Pod.Name }))
	_ = cmd.RegisterFlagCompletionFunc("target", of(func(r *v1alpha1.SessionRecording) string { return r.Spec.Target }))
}

var phases = []string{
	string(v1alpha1.RecordingRecording), string(v1alpha1.RecordingComplete), string(v1alpha1.RecordingTruncated), string(v1alpha1.RecordingLost),
}

func (q *recordingQuery) check(now time.Time) (err error) {
	if q.phase != "" {
		i := slices.IndexFunc(phases, func(p string) bool { return strings.EqualFold(p, q.phase) })
		if i < 0 {
			return fmt.Errorf("--phase %s: unknown; %s are known", q.phase, listing(phases, "and"))
		}
		q.phase = phases[i]
	}
	if q.window.from, err = moment("since", q.since, now); err != nil {
		return err
	}
	if q.window.to, err = moment("until", q.until, now); err != nil {
		return err
	}
	if !q.window.to.IsZero() && q.window.to.Before(q.window.from) {
		return fmt.Errorf("--until %s is before --since %s", q.until, q.since)
	}
	return nil
}

// filter returns the recordings that are asked for, the newest first.
func (q *recordingQuery) filter(items []v1alpha1.SessionRecording, now time.Time) []v1alpha1.SessionRecording {
	items = slices.DeleteFunc(items, func(r v1alpha1.SessionRecording) bool {
		ended := now
		if r.Status.EndTime != nil {
			ended = r.Status.EndTime.Add(time.Second) // it is stored without fractions
		}
		pod := &r.Spec.Pod
		return q.agent != "" && !strings.Contains(pod.Name, q.agent) && !strings.Contains(pod.Owner, q.agent) && !strings.Contains(pod.ServiceAccount, q.agent) ||
			q.target != "" && r.Spec.Target != q.target || q.phase != "" && phaseOf(&r) != q.phase ||
			!q.window.overlaps(r.Spec.StartTime.Time, ended)
	})
	slices.SortStableFunc(items, func(a, b v1alpha1.SessionRecording) int {
		return cmp.Or(b.Spec.StartTime.Compare(a.Spec.StartTime.Time), cmp.Compare(a.Name, b.Name))
	})
	return items
}

func phaseOf(r *v1alpha1.SessionRecording) string {
	return cmp.Or(string(r.Status.Phase), string(v1alpha1.RecordingRecording))
}

// commands lists the commands in the logs of recordings.
func (e *environment) commands(ctx context.Context, c *cluster.Cluster, o *output, q *commandQuery, items []v1alpha1.SessionRecording, w window, how reading, namespace string) error {
	if isTerminal(e.ErrOut) {
		how.progress = func(done, of int) {
			if done%20 == 0 {
				_, _ = fmt.Fprintf(e.ErrOut, "\rsearched %d of %d recordings", done, of)
			}
		}
	}
	all, fault := q.search(ctx, c, items, w, how)
	if how.progress != nil {
		_, _ = io.WriteString(e.ErrOut, "\r\x1b[K") // what was found takes its place
	}
	newestFirst(all)
	switch {
	case o.format == "name":
		seen := map[string]bool{}
		for _, f := range all {
			if name := f.Namespace + "/" + f.Recording; !seen[name] {
				seen[name] = true
				if _, err := io.WriteString(e.Out, "sessionrecording.chaperone.dev/"+f.Recording+"\n"); err != nil {
					return err
				}
			}
		}
	case o.documents():
		if err := o.value(e.Out, map[string]any{"commands": append([]found{}, all...)}); err != nil {
			return err
		}
	case len(all) == 0:
		if err := o.nothing(e.ErrOut, "such commands", namespace); err != nil {
			return err
		}
	default:
		if err := o.table(e.Out, e.paint, foundColumns).print(foundRows(all)); err != nil {
			return err
		}
	}
	return fault
}

var foundColumns = []column{
	{name: "NAMESPACE"}, {name: "TIME"}, {name: "RECORDING"}, {name: "NUMBER"}, {name: "POD", wide: true}, {name: "TARGET"},
	{name: "VERDICT", styled: true}, {name: "RULE"}, {name: "DECISION", styled: true, wide: true}, {name: "BY", wide: true}, {name: "COMMAND"},
}

func foundRows(all []found) (rows [][]string) {
	for i := range all {
		f := &all[i]
		rows = append(rows, []string{
			f.Namespace, f.Time.UTC().Format("2006-01-02 15:04:05"), f.Recording, f.Command, f.Pod, f.Target, f.Verdict, f.Rule,
			f.Decision, strings.Join(f.Deciders, ","), shorten(f.Text, 80),
		})
	}
	return rows
}

var recordingColumns = []column{
	{name: "NAMESPACE"}, {name: "NAME"}, {name: "PHASE", styled: true}, {name: "POD"}, {name: "TARGET"}, {name: "PROTOCOL", wide: true},
	{name: "CONNECTIONS", wide: true}, {name: "COMMANDS"}, {name: "DENIED"}, {name: "APPROVED"}, {name: "MASKED"},
	{name: "ROWS", wide: true}, {name: "BYTES", wide: true}, {name: "CHUNKS", wide: true}, {name: "LOG", wide: true}, {name: "AGE"},
}

func recordingRows(items []v1alpha1.SessionRecording, now time.Time) (rows [][]string) {
	for i := range items {
		r := &items[i]
		n := &r.Status.Counts
		rows = append(rows, []string{
			r.Namespace, r.Name, phaseOf(r), r.Spec.Pod.Name, r.Spec.Target,
			r.Spec.Protocol, fmt.Sprint(n.Connections), fmt.Sprint(n.Commands), fmt.Sprint(n.Denied), fmt.Sprint(n.Approved),
			fmt.Sprint(n.Masked), fmt.Sprint(n.Rows), fmt.Sprint(n.Bytes), fmt.Sprint(r.Status.Chunks), r.Spec.Log,
			age(now, r.Spec.StartTime.Time),
		})
	}
	return rows
}
