package kube_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/record"
)

// ran tells whether a container was told to run the words.
func ran(words ...string) bool {
	for _, r := range kubelet.Runs() {
		if strings.Join(r.Argv, " ") == strings.Join(words, " ") {
			return true
		}
	}
	return false
}

func overBoth(t *testing.T, test func(t *testing.T, environment []string, mark string)) {
	t.Helper()
	for transport, environment := range transports {
		t.Run("over "+transport, func(t *testing.T) { test(t, environment, "mark-"+transport) })
	}
}

func TestADeniedExecRunsNothingAndSaysWhy(t *testing.T) {
	overBoth(t, func(t *testing.T, environment []string, mark string) {
		s := front(t, sessions(policy.Rule{Name: "no-rm", Action: policy.Deny, Match: policy.Match{Programs: []string{"rm"}}, Message: "nothing is removed here"}))
		for _, args := range [][]string{{"rm", "-rf", mark}, {"sh", "-c", "true; rm -rf " + mark}, {"env", "A=b", "rm", mark}, {"xargs", "rm", mark}} {
			got := through(t, s, environment, "", append([]string{"exec", "solo", "--"}, args...)...)
			if got.code != 1 || !strings.Contains(got.stderr, "nothing is removed here; refused by Chaperone (policy agents/ops (generation 3), rule \"no-rm\")") || ran(args...) {
				t.Errorf("%v: %+v", args, got)
			}
		}
		if got := through(t, s, environment, "", "exec", "solo", "--", "echo", mark); got.code != 0 || !ran("echo", mark) {
			t.Errorf("%+v", got)
		}
	})
}

func TestAShellOnStandardInputIsAPermissionOfItsOwn(t *testing.T) {
	exec := policy.Rule{Name: "exec", Action: policy.Allow, Match: policy.Match{Resources: []string{"pods/exec", "pods/attach"}}}
	overBoth(t, func(t *testing.T, environment []string, _ string) {
		s := front(t, allowing(exec))
		for _, args := range [][]string{
			{"exec", "-i", "solo", "--", "sh"}, {"exec", "-i", "solo", "--", "sh", "-s"}, {"exec", "-i", "solo", "--", "env", "sh"}, {"exec", "-i", "solo", "--", "python3"},
			{"attach", "-i", "solo"},
		} {
			before := len(kubelet.Runs())
			got := through(t, s, environment, "touch /tmp/never\n", args...)
			if got.code != 1 || !strings.Contains(got.stderr, "refused by Chaperone") || len(kubelet.Runs()) != before {
				t.Errorf("%v: %+v", args, got)
			}
		}
		if got := through(t, s, environment, "text", "exec", "-i", "solo", "--", "cat"); got.code != 0 || got.stdout != "text" {
			t.Errorf("%+v", got)
		}
	})
}

func TestARuleForAContainerFindsTheOnlyOne(t *testing.T) {
	target := policy.Kubernetes{DefaultAction: policy.Deny, Rules: []policy.Rule{
		{Name: "only", Action: policy.Allow, Match: policy.Match{Resources: []string{"pods/exec"}, Containers: []string{"only", "app"}}},
		{Name: "pods", Action: policy.Allow, Match: policy.Match{Resources: []string{"pods"}}},
	}}
	overBoth(t, func(t *testing.T, environment []string, _ string) {
		s := front(t, target)
		for _, args := range [][]string{{"solo"}, {"web"}, {"web", "-c", "app"}} {
			if got := through(t, s, environment, "", append(append([]string{"exec"}, args...), "--", "echo", "x")...); got.code != 0 {
				t.Errorf("%v: %+v", args, got)
			}
		}
		if got := through(t, s, environment, "", "exec", "web", "-c", "side", "--", "echo", "x"); got.code != 1 || !strings.Contains(got.stderr, "refused by Chaperone") {
			t.Errorf("%+v", got)
		}
	})
}

func TestAnExecWaitsForItsApproval(t *testing.T) {
	overBoth(t, func(t *testing.T, environment []string, _ string) {
		mark := unique()
		s := front(t, sessions(policy.Rule{
			Name: "asked", Action: policy.RequireApproval, Match: policy.Match{Programs: []string{"echo"}},
			Approval: &policy.Approval{Required: 1, TimeoutSeconds: 300, WaitSeconds: 300},
		}))
		done := make(chan result, 1)
		go func() { done <- through(t, s, environment, "", "exec", "solo", "--", "echo", "approved", mark) }()
		ask := next(t, s, 1)
		if !strings.HasPrefix(ask.Text, "exec solo -n shop ") || !strings.HasSuffix(ask.Text, "-- 'echo' 'approved' '"+mark+"'") || ran("echo", "approved", mark) {
			t.Errorf("%+v", ask)
		}
		s.Desk.Decide(1, "Approved", "")
		if got := <-done; got.code != 0 || got.stdout != "approved "+mark+"\n" {
			t.Errorf("%+v", got)
		}
		go func() { done <- through(t, s, environment, "", "exec", "solo", "--", "echo", "denied", mark) }()
		next(t, s, 2)
		s.Desk.Decide(2, "Denied", "not now")
		if got := <-done; got.code != 1 || !strings.Contains(got.stderr, "not now") || ran("echo", "denied", mark) || s.Desk.Count() != 2 {
			t.Errorf("%+v, %d requests", got, s.Desk.Count())
		}
	})
}

func TestATerminalIsRecordedByItself(t *testing.T) {
	target := sessions()
	target.Masking = []policy.Masking{{Detectors: []string{"CreditCard"}}}
	overBoth(t, func(t *testing.T, environment []string, _ string) {
		s := front(t, target)
		got := terminal(t, s, environment, 100, 40, "stty size; echo 4111 1111 1111 1111; exit 5\n", "exec", "-it", "solo", "--", "sh")
		if got.code != 5 || !strings.Contains(got.stdout, "40 100") || strings.Contains(strings.ReplaceAll(got.stdout, "echo 4111 1111 1111 1111", ""), "4111 1111 1111 1111") {
			t.Errorf("%+v", got)
		}
		logs := s.Terminals()
		if len(logs) != 1 {
			t.Fatalf("%d logs", len(logs))
		}
		sizes, text := "", ""
		for _, e := range logs[0].Events() {
			switch e.Kind {
			case record.KindResize:
				sizes += fmt.Sprintf("%dx%d ", e.Columns, e.Lines)
			case record.KindOutput:
				text += e.Data
			}
		}
		if !strings.Contains(sizes, "100x40") || !strings.Contains(text, "40 100") || strings.Contains(text, "4111 1111 1111 1111") {
			t.Errorf("%s: %q", sizes, text)
		}
	})
}

func TestTheEndOfAccessEndsALiveSession(t *testing.T) {
	overBoth(t, func(t *testing.T, environment []string, _ string) {
		s := front(t, sessions(), func(p *policy.Policy) {
			p.Targets[0].Access = &policy.Access{MaxDurationSeconds: 8}
		})
		got := through(t, s, environment, "", "exec", "solo", "--", "sh", "-c", "echo begun; exec sleep 600")
		if got.code == 0 || got.stdout != "begun\n" || !strings.Contains(got.stderr, "the time that access was granted for is over") {
			t.Errorf("%+v", got)
		}
		s.Log.Find(record.KindResult, func(e record.Event) bool { return strings.Contains(e.Error, "access was granted") })
	})
}

func TestWhatCannotBeRecordedIsNotShown(t *testing.T) {
	overBoth(t, func(t *testing.T, environment []string, _ string) {
		s, sign := front(t, sessions()), "go"+unique()
		done := make(chan result, 1)
		go func() {
			done <- through(t, s, environment, "", "exec", "solo", "--", "sh", "-c", "echo shown; while ! [ -e "+sign+" ]; do sleep 0.1; done; echo hidden; sleep 60")
		}()
		s.Log.Find(record.KindOutput, nil)
		s.Log.Fails(record.ErrNotKept, nil)
		if got := direct(t, nil, "", "exec", "solo", "--", "touch", sign); got.code != 0 {
			t.Fatalf("%+v", got)
		}
		if got := <-done; got.code == 0 || strings.Contains(got.stdout, "hidden") || !strings.Contains(got.stderr, "cannot be recorded") {
			t.Errorf("%+v", got)
		}
	})
}

// marks make what a test leaves behind its own, also when it runs again.
var marks atomic.Int64

func unique() string { return fmt.Sprintf("mark%d", marks.Add(1)) }
