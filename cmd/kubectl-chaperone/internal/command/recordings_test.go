package command

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
	"github.com/chaperone-dev/chaperone/sidecar/record"
)

func TestRecordingsListsTheNewestFirst(t *testing.T) {
	s := newAPIServer(t)
	for i, name := range []string{"old", "new", "middle"} {
		began := time.Now().Add(-time.Duration([]int{50, 10, 30}[i]) * time.Minute)
		s.recordings = append(s.recordings, v1alpha1.SessionRecording{
			ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "agents"},
			Spec: v1alpha1.SessionRecordingSpec{
				Log: sessionMeta.Log, Pod: v1alpha1.RecordedPod{Name: "agent-0"}, Target: "billing", Protocol: "postgres", StartTime: metav1.NewMicroTime(began),
			},
			Status: v1alpha1.SessionRecordingStatus{
				Phase: v1alpha1.RecordingComplete, Chunks: 5, Counts: v1alpha1.RecordingCounts{Connections: 1, Commands: 42, Denied: 2, Approved: 1, Masked: 7, Rows: 9, Bytes: 100},
			},
		})
	}
	out, _, err := s.run(t, "recordings")
	if err != nil || !regexp.MustCompile(`^NAME +PHASE +POD +TARGET +COMMANDS +DENIED +APPROVED +MASKED +AGE
new +Complete +agent-0 +billing +42 +2 +1 +7 +10m
middle .* 30m
old .* 50m
$`).MatchString(out) {
		t.Errorf("%v, got\n%s", err, out)
	}
	if out, _, err := s.run(t, "rec", "-o", "wide"); err != nil || !strings.Contains(out, sessionMeta.Log) {
		t.Errorf("%v, got\n%s", err, out)
	}
	if out, _, err := s.run(t, "recordings", "-o", "yaml"); err != nil || !strings.Contains(out, "kind: SessionRecordingList") {
		t.Errorf("%v, got\n%s", err, out)
	}
}

func TestReplayPrintsTheTimelineAndWhetherItVerified(t *testing.T) {
	s := newAPIServer(t)
	s.logs["agents/rec-1"] = log(t, sessionMeta, sessionEvents...)
	out, _, err := s.run(t, "replay", "rec-1", "--no-timing")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"10:00:01.000  1.1   DROP TABLE customers\n                    DENIED: rule no-schema-change\n",
		"1 connection, 1 command, 1 denied,", "Verified: chunk 0. The recording is complete. Signed by the operator",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing in\n%s", want, out)
		}
	}
	if got := s.asked[len(s.asked)-1]; got != "/apis/logs.chaperone.dev/v1alpha1/namespaces/agents/sessionrecordings/rec-1/log?format=log" {
		t.Errorf("asked for %s", got)
	}
}

func TestReplayTakesItsTimeOnlyWhenAsked(t *testing.T) {
	s := newAPIServer(t)
	s.logs["agents/rec-1"] = log(t, sessionMeta, sessionEvents...)
	took := func(args ...string) time.Duration {
		began := time.Now()
		if _, _, err := s.run(t, append([]string{"replay", "rec-1"}, args...)...); err != nil {
			t.Error(err)
		}
		return time.Since(began)
	}
	if d := took("--speed", "5"); d < 400*time.Millisecond {
		t.Errorf("two seconds five times as fast took %s", d)
	}
	if d := took("--speed", "0.1", "--idle-limit", "50ms"); d < 100*time.Millisecond || d > 10*time.Second {
		t.Errorf("two pauses of at most 50 ms took %s", d)
	}
	s.logs["agents/rec-1"] = log(t, sessionMeta, sessionEvents[0], record.Event{Time: 3600, Kind: record.KindEnd})
	if d := took("--idle-limit", "0"); d > 10*time.Minute {
		t.Errorf("without being asked it took %s", d)
	}
}

func TestReplayOfATerminalShowsItsScreenAndNothingThatActs(t *testing.T) {
	s := newAPIServer(t)
	meta := sessionMeta
	meta.Terminal = true
	s.logs["agents/t"] = log(t, meta,
		record.Event{Time: 0, Kind: record.KindConnect, Connection: 1},
		record.Event{Time: 1, Kind: record.KindOutput, Data: "$ ls\r\n\x1b[1mdir\x1b[0m\x1b]52;c;cm0=\x07\r\n"},
		record.Event{Time: 2, Kind: record.KindEnd})
	out, note, err := s.run(t, "replay", "t", "--no-timing")
	if err != nil || out != "$ ls\r\n\x1b[1mdir\x1b[0m\r\n"+record.Restore+"\r\n" {
		t.Errorf("%v, got %q", err, out)
	}
	if !strings.HasPrefix(note, "Verified: chunk 0. The recording is complete.") {
		t.Errorf("got %q", note)
	}
}

func TestReplayRefusesWhatDoesNotVerify(t *testing.T) {
	s := newAPIServer(t)
	whole := log(t, sessionMeta, sessionEvents...)
	s.logs["agents/rec-1"] = whole[:len(whole)-400]
	out, _, err := s.run(t, "replay", "rec-1")
	if err == nil || !strings.Contains(err.Error(), "recording rec-1 does not verify") || !strings.Contains(out, "BROKEN") {
		t.Errorf("%v, got\n%s", err, out)
	}
	if strings.Contains(out, "DROP TABLE") {
		t.Errorf("it shows a chunk that does not verify:\n%s", out)
	}
	for args, want := range map[string]string{
		"replay nope":            "log of recording agents/nope not found; kubectl chaperone recordings -n agents lists",
		"replay rec-1 --speed 0": "must be more than 0",
		"replay rec-1 --key x":   "reading the operator's public key",
	} {
		if _, _, err := s.run(t, strings.Fields(args)...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", args, err)
		}
	}
}

func TestVerify(t *testing.T) {
	dir := t.TempDir()
	writeKey := func(name string, key any) string {
		der, err := x509.MarshalPKIXPublicKey(key)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	right := writeKey("right.pem", operatorKey.Public())
	wrong := writeKey("wrong.pem", otherKey.Public())
	empty := filepath.Join(dir, "empty.pem")
	set := filepath.Join(dir, "keys.json")
	own, other := record.KeyOf(operatorKey.Public().(ed25519.PublicKey)), record.KeyOf(otherKey.Public().(ed25519.PublicKey))
	revoked, retired := own, own
	revoked.Revoked, retired.Until = sessionMeta.Start.Add(48*time.Hour), sessionMeta.Start
	text, err := json.Marshal(record.NewKeyList("logs.chaperone.dev/v1alpha1", []record.Key{other, own}))
	if err != nil {
		t.Fatal(err)
	}
	kept := filepath.Join(dir, "kept.log")
	whole := log(t, sessionMeta, sessionEvents...)
	for file, text := range map[string][]byte{empty: nil, kept: whole, set: text} {
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	truncated := append(sessionEvents[:2:2], record.Event{Time: 2, Kind: record.KindEnd, Error: "the sidecar stopped"})
	unsigned := whole[:strings.LastIndex(string(whole), "{\"head\"")-8]
	for name, c := range map[string]struct {
		args string
		log  []byte
		out  string
		err  string
		keys []record.Key // that the operator publishes; without them, the key that signed and another
	}{
		"a key that was taken out of the set":    {"verify rec-1", whole, "not trusted: key " + own.ID + " is not, or no longer, in the set of 1 key", "is Broken", []record.Key{other}},
		"a key that was revoked":                 {"verify rec-1", whole, "with a key that was revoked: key " + own.ID + ", on 2026-10-02", "is Broken", []record.Key{other, revoked}},
		"a key that had retired when it signed":  {"verify rec-1", whole, "was retired on 2026-09-30 10:00:00 UTC", "is Broken", []record.Key{other, retired}},
		"keys that the user may not read":        {"verify rec-1", whole, "", "chaperone-verifier", []record.Key{}},
		"a file, with a file of the set of keys": {"verify --file " + kept + " --key " + set, nil, "is complete. Signed by the operator on 2026-09-30 11:00:00 UTC (key " + own.ID + ")", "", []record.Key{}},
		"a file without keys":                    {"verify --file " + kept, nil, "", "--key FILE names a file of the operator's keys instead", []record.Key{}},
		"a complete log":                         {"verify rec-1", whole, "The recording is complete. Signed by the operator", "", nil},
		"a log that goes on":                     {"verify rec-1", log(t, sessionMeta, sessionEvents[:2]...), "still going on. Signed", "", nil},
		"with the operator's key":                {"verify rec-1 --key " + right, whole, "is complete. Signed", "", nil},
		"with another key":                       {"verify rec-1 --key " + wrong, whole, "not trusted", "the recording is Broken", nil},
		"with a file without a key":              {"verify rec-1 --key " + empty, whole, "", "no public key", nil},
		"a truncated log":                        {"verify rec-1", log(t, sessionMeta, truncated...), "TRUNCATED: the sidecar stopped", "is Truncated", nil},
		"a log without a signature":              {"verify rec-1", unsigned, "Not signed", "is not signed", nil},
		"a log that is cut":                      {"verify rec-1", whole[:len(whole)-400], "BROKEN", "is Broken", nil},
		"a file":                                 {"verify --file " + kept, nil, "is complete. Signed", "", nil},
		"a file that there is not":               {"verify --file " + kept + "x", nil, "", "no such file", nil},
		"a file that is no log":                  {"verify --file " + right, nil, "", "not a log of Chaperone", nil},
		"neither a name nor a file":              {"verify", nil, "", "name either", nil},
		"both a name and a file":                 {"verify rec-1 --file " + kept, nil, "", "name either", nil},
		"a recording that is gone":               {"verify rec-2", whole, "", "not found", nil},
		"counts what was recorded":               {"verify rec-1", whole, "1 connection, 1 command, 1 denied", "", nil},
		"a recording elsewhere":                  {"verify rec-1 -n other", whole, "", "not found", nil},
	} {
		s := newAPIServer(t)
		s.logs["agents/rec-1"] = c.log
		if c.keys != nil {
			s.keys = c.keys[:len(c.keys):len(c.keys)]
		}
		if len(s.keys) == 0 {
			s.keys = nil
		}
		out, _, err := s.run(t, strings.Fields(c.args)...)
		if c.err == "" && err != nil || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
			t.Errorf("%s: %v", name, err)
		}
		if !strings.Contains(out, c.out) {
			t.Errorf("%s: got %s", name, out)
		}
	}
}

func TestVersion(t *testing.T) {
	if out, _, err := newAPIServer(t).run(t, "version"); err != nil || out != "v1.2.3\n" {
		t.Errorf("got %q, %v", out, err)
	}
}
