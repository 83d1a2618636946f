package command

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
	"github.com/chaperone-dev/chaperone/cmd/kubectl-chaperone/internal/cluster"
	"github.com/chaperone-dev/chaperone/cmd/kubectl-chaperone/internal/play"
	"github.com/chaperone-dev/chaperone/sidecar/record"
)

// commandQuery says which commands in the logs are looked for.
type commandQuery struct {
	command, verdict, rule string
	// refused asks for what a rule or people refused.
	refused bool
	pattern *regexp.Regexp
}

// verdicts are the words that a command's verdict is asked for with.
var verdicts = []string{"Allow", "Deny", "RequireApproval"}

func (q *commandQuery) wanted() bool { return q.command != "" || q.verdict != "" || q.rule != "" }

func (q *commandQuery) check() error {
	if q.verdict != "" {
		i := slices.IndexFunc(verdicts, func(v string) bool { return strings.EqualFold(v, q.verdict) })
		if i < 0 {
			return fmt.Errorf("--verdict %s: unknown; %s are known", q.verdict, listing(verdicts, "and"))
		}
		q.verdict = verdicts[i]
	}
	expression := "(?i)" + regexp.QuoteMeta(q.command)
	if n := len(q.command); n > 2 && q.command[0] == '/' && q.command[n-1] == '/' {
		expression = q.command[1 : n-1]
	}
	var err error
	if q.pattern, err = regexp.Compile(expression); err != nil {
		return fmt.Errorf("--command %s: %w", q.command, err)
	}
	return nil
}

// mayHold tells from its counts whether a recording can hold such a command; those of one that goes on may lag.
func (q *commandQuery) mayHold(r *v1alpha1.SessionRecording) bool {
	if phase := r.Status.Phase; phase == "" || phase == v1alpha1.RecordingRecording {
		return true
	}
	return r.Status.Counts.Commands > 0
}

func (q *commandQuery) matches(e *record.Event) bool {
	return e.Kind == record.KindCommand && (!q.refused || e.Verdict == "Deny" || e.Verdict == "RequireApproval") && (q.verdict == "" || e.Verdict == q.verdict || e.Audited == q.verdict) &&
		(q.rule == "" || e.Rule == q.rule) && q.pattern.MatchString(e.Text)
}

// found is a command that was looked for.
type found struct {
	Namespace string `json:"namespace"`
	Recording string `json:"recording"`
	Pod       string `json:"pod"`
	Target    string `json:"target"`
	Protocol  string `json:"protocol,omitempty"`
	// Command is its number in the recording, which replay --from takes.
	Command string    `json:"command"`
	Time    time.Time `json:"time"`
	Verdict string    `json:"verdict"`
	// Audited is what an enforcing policy would have said.
	Audited string `json:"audited,omitempty"`
	Policy  string `json:"policy,omitempty"`
	Rule    string `json:"rule,omitempty"`
	Message string `json:"message,omitempty"`
	Request string `json:"request,omitempty"`
	// Decision and Deciders tell what people said.
	Decision string   `json:"decision,omitempty"`
	Deciders []string `json:"deciders,omitempty"`
	Text     string   `json:"text"`
	Length   int      `json:"length,omitempty"`
	SHA256   string   `json:"sha256,omitempty"`

	connection uint32
	number     uint64
}

// parallelReads is how many logs are read at once where nothing else is said.
const parallelReads = 8

// reading is how a search goes about it.
type reading struct {
	// parallel is how many logs are read at once.
	parallel int
	// limit is after how many commands it ends; 0 for never.
	limit int
	// progress, which may be nil, is told how many of how many logs were searched.
	progress func(done, of int)
}

// search reads logs for commands, the newest recording first, and stops when it has enough. Logs that cannot be read
// or do not verify are told in the error, behind what was found. The outcome does not depend on how many are read at
// once.
func (q *commandQuery) search(ctx context.Context, c *cluster.Cluster, items []v1alpha1.SessionRecording, window window, how reading) (all []found, err error) {
	items = slices.DeleteFunc(slices.Clone(items), func(r v1alpha1.SessionRecording) bool { return !q.mayHold(&r) })
	type outcome struct {
		found []found
		err   error
	}
	open, stop := context.WithCancel(ctx)
	var readers sync.WaitGroup
	defer readers.Wait()
	defer stop()
	// outcomes are in the order of items; its room bounds how many logs are read ahead.
	outcomes := make(chan chan outcome, how.parallel-1)
	readers.Go(func() {
		defer close(outcomes)
		for i := range items {
			one := make(chan outcome, 1)
			select {
			case outcomes <- one:
			case <-open.Done():
				return
			}
			readers.Go(func() {
				found, err := q.in(open, c, &items[i], window)
				one <- outcome{found, err}
			})
		}
	})
	var faults []error
	done := 0
	for one := range outcomes {
		log := <-one
		if ctx.Err() != nil {
			return all, context.Cause(ctx)
		}
		if log.err != nil {
			faults = append(faults, log.err)
		}
		if all = append(all, log.found...); how.limit > 0 && len(all) >= how.limit {
			return all[:how.limit], errors.Join(append(faults, fmt.Errorf("the search ended at %d commands; there may be more (--limit)", how.limit))...)
		}
		if done++; how.progress != nil {
			how.progress(done, len(items))
		}
	}
	return all, errors.Join(faults...)
}

// in reads one log.
func (q *commandQuery) in(ctx context.Context, c *cluster.Cluster, r *v1alpha1.SessionRecording, window window) (out []found, err error) {
	log, err := c.Log(ctx, r.Namespace, r.Name)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	_, v, err := record.Verify(log, func(m record.Meta, _ *record.Chunk, events []record.Event) error {
		for i := range events {
			e := &events[i]
			if e.Kind == record.KindApproval {
				for j := range out {
					if out[j].connection == e.Connection && out[j].number == e.Command {
						out[j].Request, out[j].Decision, out[j].Deciders = e.Request, e.Decision, e.Deciders
					}
				}
			}
			at := m.Start.Add(time.Duration(e.Time * float64(time.Second)))
			if !q.matches(e) || !window.holds(at) {
				continue
			}
			out = append(out, found{
				Namespace: r.Namespace, Recording: r.Name, Pod: r.Spec.Pod.Name, Target: r.Spec.Target, Protocol: r.Spec.Protocol,
				Command: play.Number(e), Time: at, Verdict: e.Verdict, Audited: e.Audited, Policy: e.Policy, Rule: e.Rule, Message: e.Message, Request: e.Request,
				Text: e.Text, Length: e.TextLength, SHA256: e.Digest, connection: e.Connection, number: e.Command,
			})
		}
		return nil
	})
	if q.refused {
		out = slices.DeleteFunc(out, func(f found) bool {
			return f.Verdict != "Deny" && f.Decision != "Denied" && f.Decision != "Expired"
		})
	}
	if err != nil {
		return out, fmt.Errorf("recording %s/%s: %w", r.Namespace, r.Name, err)
	}
	return out, broken("recording "+r.Namespace+"/"+r.Name, v)
}

func newestFirst(all []found) {
	slices.SortStableFunc(all, func(a, b found) int { return b.Time.Compare(a.Time) })
}
