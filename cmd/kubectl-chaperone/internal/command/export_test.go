package command

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/chaperone-dev/chaperone/sidecar/record"
)

var terminalEvents = []record.Event{
	{Time: 0, Kind: record.KindConnect, Connection: 1},
	{Time: 0, Kind: record.KindResize, Connection: 1, Columns: 100, Lines: 30},
	{Time: 1, Kind: record.KindOutput, Connection: 1, Stream: "stdout", Data: "one "},
	{Time: 600, Kind: record.KindCommand, Connection: 1, Command: 1, Text: "ls", Verdict: "Allow"},
	{Time: 601, Kind: record.KindOutput, Connection: 1, Stream: "stdout", Data: "two "},
	{Time: 1200, Kind: record.KindOutput, Connection: 1, Stream: "stdout", Data: "three"},
	{Time: 1201, Kind: record.KindEnd},
}

func terminal(t *testing.T) *apiServer {
	s := newAPIServer(t)
	meta := sessionMeta
	meta.Terminal = true
	s.logs["agents/t"] = log(t, meta, terminalEvents...)
	s.logs["agents/sql"] = log(t, sessionMeta, sessionEvents...)
	whole := s.logs["agents/sql"]
	s.logs["agents/cut"] = whole[:len(whole)-400]
	return s
}

func TestExportWritesEachFormat(t *testing.T) {
	s := terminal(t)
	dir := t.TempDir()
	for args, holds := range map[string]string{
		"export t --format asciicast":                            `{"version":3,"term":{"cols":100,"rows":30},"timestamp":`,
		"export t --format asciicast -o -":                       `[599, "m", "ls"]`,
		"export sql --format jsonl":                              `{"t":1,"kind":"command","conn":1,"cmd":1,"text":"DROP TABLE customers","verdict":"Deny","rule":"no-schema-change"}`,
		"export t --format html":                                 "<title>agents/rec-1</title>",
		"export sql --format text":                               "DENIED: rule no-schema-change",
		"export t -o " + filepath.Join(dir, "a.cast"):            `"three"]`,
		"export sql -o " + filepath.Join(dir, "b.jsonl"):         `"kind":"end"`,
		"export sql -o " + filepath.Join(dir, "c.txt"):           "The recording is complete. Signed",
		"export sql -o " + filepath.Join(dir, "c.html"):          "DENIED: rule no-schema-change",
		"export sql -o " + filepath.Join(dir, "d.log"):           `{"head"`,
		"export sql --format text -o " + filepath.Join(dir, "e"): "DROP TABLE",
	} {
		out, _, err := s.run(t, strings.Fields(args)...)
		if err != nil {
			t.Errorf("%s: %v", args, err)
			continue
		}
		if _, file, ok := strings.Cut(args, "-o /"); ok {
			text, err := os.ReadFile("/" + file)
			if err != nil || out != "" {
				t.Errorf("%s: %v, printed %q", args, err, out)
			}
			if info, err := os.Stat("/" + file); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("%s: others may read it: %v", args, info.Mode())
			}
			out = string(text)
		}
		if !strings.Contains(out, holds) {
			t.Errorf("%s: %q is missing in\n%s", args, holds, out)
		}
	}
	for _, line := range strings.Split(strings.TrimSpace(mustRun(t, s, "export", "t", "--format", "asciicast")), "\n") {
		if !json.Valid([]byte(line)) {
			t.Errorf("no JSON: %s", line)
		}
	}
	// What was kept is verified, shown and exported again without a cluster.
	kept := filepath.Join(dir, "d.log")
	keys := filepath.Join(dir, "keys.json")
	published, err := json.Marshal(record.NewKeyList("logs.chaperone.dev/v1alpha1", s.keys))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(keys, published, 0o600); err != nil {
		t.Fatal(err)
	}
	s.Close()
	for _, args := range [][]string{{"verify", "--file", kept, "--key", keys}, {"replay", "--file", kept}, {"export", "--file", kept, "--format", "text"}} {
		if out := mustRun(t, s, args...); !strings.Contains(out, "is complete. Signed") {
			t.Errorf("%v: got\n%s", args, out)
		}
	}
}

func mustRun(t *testing.T, s *apiServer, args ...string) string {
	t.Helper()
	out, _, err := s.run(t, args...)
	if err != nil {
		t.Error(err)
	}
	return out
}

func TestExportLeavesNoHalfFile(t *testing.T) {
	s := terminal(t)
	for args, c := range map[string]struct {
		err   string
		holds string // nothing: no file
	}{
		"export cut --format jsonl":        {"recording cut: the log is broken", ""},
		"export cut --format asciicast":    {"holds no terminal output", ""},
		"export sql --format asciicast":    {"holds no terminal output; read it as text", ""},
		"export cut --format text":         {"recording cut does not verify", "BROKEN"},
		"export cut --format html":         {"recording cut does not verify", "BROKEN: does not verify"},
		"export cut --format log":          {"recording cut does not verify", `{"meta"`},
		"export nope --format text":        {"log of recording agents/nope not found", ""},
		"export sql --format mp4":          {"--format mp4: unknown; asciicast, jsonl, text, html and log are known", ""},
		"export sql":                       {"--format is missing", ""},
		"export --format text":             {"name either a recording or", ""},
		"export sql --file x --format log": {"name either a recording or", ""},
	} {
		dir := t.TempDir()
		file := filepath.Join(dir, "out")
		_, _, err := s.run(t, append(strings.Fields(args), "-o", file)...)
		if err == nil || !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: %v", args, err)
		}
		text, _ := os.ReadFile(file)
		if c.holds == "" && text != nil || !strings.Contains(string(text), c.holds) {
			t.Errorf("%s left %q", args, text)
		}
		if entries, err := os.ReadDir(dir); err != nil || len(entries) > 1 || len(entries) == 1 && c.holds == "" {
			t.Errorf("%s left %v, %v", args, entries, err)
		}
	}
}

func TestReplayBeginsWhereAsked(t *testing.T) {
	s := terminal(t)
	out := mustRun(t, s, "replay", "t", "--markers")
	if strings.Join(strings.Fields(out), " ") != "AT COMMAND VERDICT TEXT 10m0s 1.1 Allow ls" {
		t.Errorf("got\n%s", out)
	}
	for from, ok := range map[string]bool{"10m": true, "1.1": true, "21m": false, "1.7": false, "soon": false} {
		if _, _, err := s.run(t, "replay", "t", "--no-timing", "--from", from); (err == nil) != ok || err != nil && !strings.Contains(err.Error(), "--from "+from) {
			t.Errorf("%s: %v", from, err)
		}
	}
	if out := mustRun(t, s, "replay", "sql", "--from", "1.1"); strings.Contains(out, "connects") || !strings.Contains(out, "DROP TABLE") {
		t.Errorf("got\n%s", out)
	}
}

// screen collects what a pseudoterminal shows.
type screen struct {
	primary *os.File
	text    bytes.Buffer
}

func (s *screen) waitFor(t *testing.T, text string) {
	t.Helper()
	b := make([]byte, 4096)
	if err := s.primary.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	for !strings.Contains(s.text.String(), text) {
		n, err := s.primary.Read(b)
		if s.text.Write(b[:n]); err != nil {
			t.Fatalf("waiting for %q: %v; the terminal shows %q", text, err, s.text.String())
		}
	}
}

func TestATerminalPlaysAtItsPaceUnderTheReadersKeys(t *testing.T) {
	primary, secondary, err := openPTY()
	if err != nil {
		t.Skipf("no pseudoterminal on this machine: %v", err)
	}
	defer primary.Close()
	defer secondary.Close()
	api := terminal(t)
	cmd := New(genericiooptions.IOStreams{In: secondary, Out: secondary, ErrOut: io.Discard}, "v1")
	cmd.SetArgs(append(api.kubeconfig(t), "replay", "t", "--idle-limit", "0"))
	done := make(chan error, 1)
	go func() { done <- cmd.ExecuteContext(t.Context()) }()
	s := &screen{primary: primary}
	s.waitFor(t, "one ")
	// Ten minutes lie before the next output.
	if _, err := primary.WriteString("]"); err != nil {
		t.Fatal(err)
	}
	s.waitFor(t, "two ")
	if _, err := primary.WriteString(" q"); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("q does not end it")
	}
	s.waitFor(t, record.Restore)
	if strings.Contains(s.text.String(), "three") {
		t.Errorf("it played on: %q", s.text.String())
	}
}
