package command

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
	"github.com/chaperone-dev/chaperone/sidecar/record"
)

// recorded adds a recording that began so long ago, with its log.
func (s *apiServer) recorded(t *testing.T, name string, ago time.Duration, change func(*v1alpha1.SessionRecording), events ...record.Event) {
	t.Helper()
	began := time.Now().Add(-ago)
	ended := metav1.NewTime(began.Add(time.Minute))
	r := v1alpha1.SessionRecording{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "agents"},
		Spec: v1alpha1.SessionRecordingSpec{
			Log: sessionMeta.Log, Target: "billing", Protocol: "postgres", StartTime: metav1.NewMicroTime(began),
			Pod: v1alpha1.RecordedPod{Name: "agent-0", UID: types.UID("u"), ServiceAccount: "default", Owner: "deployment/agent"},
		},
		Status: v1alpha1.SessionRecordingStatus{Phase: v1alpha1.RecordingComplete, Counts: v1alpha1.RecordingCounts{Commands: 1}, EndTime: &ended},
	}
	if change != nil {
		change(&r)
	}
	s.recordings = append(s.recordings, r)
	meta := sessionMeta
	meta.Start, meta.Recording = began, name
	s.logs["agents/"+name] = log(t, meta, append(events, record.Event{Time: 60, Kind: record.KindEnd})...)
}

func run(conn uint32, number uint64, at float64, verdict, rule, text string) record.Event {
	return record.Event{Time: at, Kind: record.KindCommand, Connection: conn, Command: number, Text: text, Verdict: verdict, Rule: rule, Policy: "agents/billing"}
}

func searched(t *testing.T) *apiServer {
	s := newAPIServer(t)
	s.recorded(t, "old", 48*time.Hour, nil, run(1, 1, 1, "Deny", "no-schema-change", "drop table customers"))
	s.recorded(t, "new", time.Hour, nil,
		run(1, 1, 1, "Allow", "reads", "SELECT name\nFROM customers"), run(1, 2, 2, "Deny", "no-schema-change", "DROP TABLE invoices"),
		run(2, 1, 3, "RequireApproval", "unfiltered-writes", "UPDATE customers SET plan = 'x'"),
		record.Event{Time: 4, Kind: record.KindApproval, Connection: 2, Command: 1, Request: "apr-1", Decision: "Approved", Deciders: []string{"dana"}})
	s.recorded(t, "shell", 30*time.Minute, func(r *v1alpha1.SessionRecording) {
		r.Spec.Target, r.Spec.Protocol, r.Spec.Pod.Name, r.Spec.Pod.Owner = "bastion", "ssh", "other-1", "job/nightly"
		r.Status.Phase = v1alpha1.RecordingTruncated
	}, run(1, 1, 1, "Allow", "reads", "cat customers.txt"))
	s.recorded(t, "idle", 10*time.Minute, func(r *v1alpha1.SessionRecording) { r.Status.Counts = v1alpha1.RecordingCounts{} })
	return s
}

func TestRecordingsAreChosenByAgentTargetPhaseAndTime(t *testing.T) {
	s := searched(t)
	for args, want := range map[string]string{
		"":                                    "idle shell new old",
		"--target bastion":                    "shell",
		"--agent agent-0":                     "idle new old",
		"--agent nightly":                     "shell",
		"--agent default":                     "idle shell new old",
		"--phase truncated":                   "shell",
		"--since 2h":                          "idle shell new",
		"--since 2h --until 20m":              "shell new",
		"--until 24h":                         "old",
		"--since 2000-01-01 --target billing": "idle new old",
		"--since 2000-01-01T10:00:00Z --until 2000-01-02": "",
	} {
		out, _, err := s.run(t, append(append([]string{"recordings"}, strings.Fields(args)...), "-o", "name")...)
		if got := strings.ReplaceAll(strings.Join(strings.Fields(out), " "), "sessionrecording.chaperone.dev/", ""); err != nil || got != want {
			t.Errorf("%s: %v, got %q, want %q", args, err, got, want)
		}
	}
}

func TestCommandsAreFoundInRecordings(t *testing.T) {
	s := searched(t)
	for args, want := range map[string]string{
		"--command customers":                 "shell/1.1 new/2.1 new/1.1 old/1.1",
		"--command /^DROP/":                   "new/1.2",
		"--command drop --verdict deny":       "new/1.2 old/1.1",
		"--verdict Deny --since 2h":           "new/1.2",
		"--rule unfiltered-writes":            "new/2.1",
		"--verdict Allow --target billing":    "new/1.1",
		"--command customers --agent nightly": "shell/1.1",
		"--command customers --limit 0":       "shell/1.1 new/2.1 new/1.1 old/1.1",
		"--command nowhere":                   "",
		"--command customers --parallel 1":    "shell/1.1 new/2.1 new/1.1 old/1.1",
		"--command customers --parallel 64":   "shell/1.1 new/2.1 new/1.1 old/1.1",
	} {
		out, _, err := s.run(t, append(append([]string{"recordings"}, strings.Fields(args)...), "-o", "json")...)
		var got struct{ Commands []found }
		if err != nil || json.Unmarshal([]byte(out), &got) != nil || got.Commands == nil {
			t.Errorf("%s: %v, got %s", args, err, out)
		}
		var names []string
		for _, f := range got.Commands {
			names = append(names, f.Recording+"/"+f.Command)
		}
		if text := strings.Join(names, " "); text != want {
			t.Errorf("%s: got %q, want %q", args, text, want)
		}
	}
	for _, asked := range s.asked {
		if strings.Contains(asked, "/idle/log") {
			t.Error("it reads the log of a recording without commands")
		}
	}
	out, _, err := s.run(t, "recordings", "--rule", "unfiltered-writes", "-o", "wide")
	if err != nil || !regexp.MustCompile(`(?m)^\S+ \S+ +new +2\.1 +agent-0 +billing +RequireApproval +unfiltered-writes +Approved +dana +UPDATE customers SET plan = 'x'$`).MatchString(out) {
		t.Errorf("%v, got\n%s", err, out)
	}
	out, _, err = s.run(t, "recordings", "--command", "customers", "--limit", "2")
	if err == nil || !strings.Contains(err.Error(), "the search ended at 2 commands") || strings.Count(out, "\n") != 3 {
		t.Errorf("%v, got\n%s", err, out)
	}
}

func TestASearchTellsWhatItCouldNotRead(t *testing.T) {
	s := searched(t)
	s.logs["agents/new"] = s.logs["agents/new"][:len(s.logs["agents/new"])/2]
	delete(s.logs, "agents/shell")
	out, _, err := s.run(t, "recordings", "--command", "customers")
	if err == nil || !strings.Contains(err.Error(), "recording agents/new does not verify") || !strings.Contains(err.Error(), "log of recording agents/shell not found") {
		t.Errorf("got %v", err)
	}
	if !strings.Contains(out, "old") || strings.Contains(out, "new ") {
		t.Errorf("got\n%s", out)
	}
	for args, want := range map[string]string{
		"--verdict x":            "--verdict x: unknown; Allow, Deny and RequireApproval are known",
		"--phase x":              "Recording, Complete, Truncated and Lost are known",
		"--since soon":           "--since soon: neither a duration (2h)",
		"--since 1h --until 2h":  "--until 2h is before --since 1h",
		"--command /(/":          "--command /(/: error parsing regexp",
		"--since -1h":            "neither a duration",
		"--command x -o nothing": "unknown output",
		"--parallel 0":           "--parallel 0: 1 to 64",
		"--parallel 65":          "--parallel 65: 1 to 64",
	} {
		if _, _, err := s.run(t, append([]string{"recordings"}, strings.Fields(args)...)...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", args, err)
		}
	}
}

// hostile holds what a terminal would act on, as an agent may write it; pieces are what must not come out.
var (
	hostile = "x\x1b]52;c;cm0=\x07\u009b31m\u202ey\x7f\r<script>alert(1)</script>"
	pieces  = "\x1b\x07\u009b\u202e\x7f\r"
)

func TestNothingOfARecordingActsOnATerminal(t *testing.T) {
	s := newAPIServer(t)
	s.recorded(t, "bad", time.Hour, func(r *v1alpha1.SessionRecording) { r.Spec.Target = hostile },
		record.Event{Kind: record.KindConnect, Connection: 1, Client: hostile, User: hostile, Database: hostile, Peer: hostile},
		record.Event{Time: 1, Kind: record.KindCommand, Connection: 1, Command: 1, Text: hostile, Rule: hostile, Policy: hostile, Message: hostile, Verdict: hostile, Digest: hostile, TextLength: 9999},
		record.Event{Time: 2, Kind: record.KindApproval, Connection: 1, Command: 1, Request: hostile, Decision: hostile, Deciders: []string{hostile}},
		record.Event{Time: 3, Kind: record.KindResult, Connection: 1, Command: 1, Tag: hostile, Error: hostile, SQLSTATE: hostile},
		record.Event{Time: 4, Kind: record.KindOutput, Connection: 1, Command: 1, Stream: hostile, Data: hostile})
	for _, args := range []string{
		"recordings", "recordings -o wide", "recordings -o json", "recordings -o yaml", "recordings --command x", "recordings --command x -o wide",
		"recordings --command x -o json", "recordings --command x -o yaml", "recordings -o name --command x", "replay bad", "replay bad --markers",
		"export bad --format text", "export bad --format jsonl", "verify bad",
	} {
		out, note, err := s.run(t, strings.Fields(args)...)
		if err != nil || out == "" {
			t.Errorf("%s: %v, printed %q", args, err, out)
		}
		if i := strings.IndexAny(out+note, pieces); i >= 0 {
			t.Errorf("%s prints %q", args, (out + note)[max(0, i-20):min(len(out+note), i+20)])
		}
	}
	out, _, _ := s.run(t, "recordings", "--command", "x", "-o", "json")
	var got struct{ Commands []found }
	if err := json.Unmarshal([]byte(out), &got); err != nil || got.Commands[0].Text != hostile {
		t.Errorf("as JSON it is another text: %v, %q", err, got.Commands[0].Text)
	}
}
