package kube_test

import (
	"strings"
	"testing"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/record"
)

// transports are kubectl's ways to exec, attach and forward.
var transports = map[string][]string{
	"WebSocket": nil,
	"SPDY":      {"KUBECTL_REMOTE_COMMAND_WEBSOCKETS=false", "KUBECTL_PORT_FORWARD_WEBSOCKETS=false"},
}

// sessions allows every session in a pod.
func sessions(rules ...policy.Rule) policy.Kubernetes {
	yes := true
	return allowing(append(rules,
		policy.Rule{Name: "exec", Action: policy.Allow, Match: policy.Match{Resources: []string{"pods/exec", "pods/attach", "pods/portforward"}}},
		policy.Rule{Name: "interactive", Action: policy.Allow, Match: policy.Match{Resources: []string{"pods/exec", "pods/attach"}, Interactive: &yes}},
	)...)
}

func TestExecIsAsWithoutTheSidecar(t *testing.T) {
	big := strings.Repeat("0123456789abcdef", 1<<16)
	for name, c := range map[string]struct {
		stdin string
		args  []string
	}{
		"output":                    {"", []string{"exec", "solo", "--", "echo", "hello"}},
		"both streams":              {"", []string{"exec", "solo", "--", "sh", "-c", "echo out; echo err >&2"}},
		"an exit code":              {"", []string{"exec", "solo", "--", "sh", "-c", "exit 42"}},
		"nothing":                   {"", []string{"exec", "solo", "--", "true"}},
		"a program that is not":     {"", []string{"exec", "solo", "--", "no-such-program"}},
		"standard input":            {"a\nb\n", []string{"exec", "-i", "solo", "--", "cat"}},
		"much of it":                {big, []string{"exec", "-i", "solo", "--", "cat"}},
		"its end":                   {"a\nb\n", []string{"exec", "-i", "solo", "--", "wc", "-l"}},
		"no input":                  {"", []string{"exec", "-i", "solo", "--", "cat"}},
		"input that is not read":    {big, []string{"exec", "-i", "solo", "--", "true"}},
		"a shell on standard input": {"echo 1; exit 3", []string{"exec", "-i", "solo", "--", "sh"}},
		"the first of two":          {"", []string{"exec", "web", "--", "echo", "x"}},
		"a named container":         {"", []string{"exec", "web", "-c", "side", "--", "echo", "x"}},
		"a container that is not":   {"", []string{"exec", "web", "-c", "none", "--", "echo", "x"}},
		"a pod that is not":         {"", []string{"exec", "none", "--", "echo", "x"}},
		"attach":                    {"one\nstop\n", []string{"attach", "-i", "solo"}},
		"a quiet one":               {"", []string{"exec", "-q", "solo", "--", "echo", "x"}},
	} {
		for transport, environment := range transports {
			t.Run(name+" over "+transport, func(t *testing.T) {
				t.Parallel()
				want := copied(direct(t, environment, c.stdin, c.args...))
				got := copied(through(t, front(t, sessions()), environment, c.stdin, c.args...))
				if got != want {
					t.Errorf("got %.300q %q %d, want %.300q %q %d", got.stdout, got.stderr, got.code, want.stdout, want.stderr, want.code)
				}
			})
		}
	}
}

// copied leaves out kubectl's complaint that its standard input was not taken, which it makes now and then where the
// program ended first.
func copied(r result) result {
	var kept []string
	for line := range strings.Lines(r.stderr) {
		if !strings.Contains(line, "Copying stdin failed") {
			kept = append(kept, line)
		}
	}
	r.stderr = strings.Join(kept, "")
	return r
}

func TestExecIsRecordedAndMasked(t *testing.T) {
	target := sessions()
	target.Masking = []policy.Masking{{Detectors: []string{"CreditCard"}}, {Pattern: "EMP-[0-9]{6}"}}
	for transport, environment := range transports {
		t.Run(transport, func(t *testing.T) {
			s := front(t, target)
			got := through(t, s, environment, "", "exec", "solo", "--", "sh", "-c", "echo 'card 4111 1111 1111 1111 of me'; echo 4111-1111-1111-1111 >&2; echo EMP-123456 EMP-12; exit 7")
			if strings.Contains(got.stdout+got.stderr, "1111") || !strings.Contains(got.stdout, "********** EMP-12\n") || !strings.Contains(got.stdout, "of me") || got.code != 7 {
				t.Errorf("%+v", got)
			}
			results := s.Log.Find(record.KindResult, func(e record.Event) bool { return e.Tag == "exit status 7" })
			if len(results) != 1 || results[0].Masked < 3 {
				t.Errorf("%+v", s.Log.Events())
			}
			text := ""
			for _, e := range s.Log.Find(record.KindOutput, nil) {
				text += e.Stream + ":" + e.Data
			}
			if strings.Contains(text, "1111") || strings.Contains(text, "EMP-123456") || !strings.Contains(text, "of me") || !strings.Contains(text, "stderr:") {
				t.Errorf("recorded %q", text)
			}
		})
	}
}
