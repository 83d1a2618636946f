package record

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// story is a session as the demo has it, with an agent that tries its reader's terminal.
var story = []Event{
	{Time: 0, Kind: KindConnect, Connection: 1, Protocol: "postgres", Peer: "10.96.4.7:5432", User: "billing_rw", Database: "billing", Client: "psql\x1b[2J"},
	{Time: 0.12, Kind: KindCommand, Connection: 1, Command: 1, Text: "SELECT id, card_number\n\tFROM customers LIMIT 3", Verdict: "Allow", Policy: "agents/billing-agent", Rule: "reads"},
	{Time: 0.1312, Kind: KindResult, Connection: 1, Command: 1, Tag: "SELECT 3", Rows: 3, Bytes: 120, Masked: 3},
	{Time: 2, Kind: KindCommand, Connection: 1, Command: 2, Text: "DROP TABLE customers", Verdict: "Deny", Policy: "agents/billing-agent", Rule: "no-schema-change", Message: "schema changes go through migrations"},
	{Time: 2.0001, Kind: KindResult, Connection: 1, Command: 2, SQLSTATE: "42501", Error: "refused"},
	{Time: 3, Kind: KindCommand, Connection: 1, Command: 3, Text: "UPDATE customers SET tier = 'x'", TextLength: 70_000, Digest: "ab12", Verdict: "RequireApproval", Policy: "agents/billing-agent", Rule: "unfiltered-writes"},
	{Time: 3.01, Kind: KindApproval, Connection: 1, Command: 3, Request: "billing-agent-x7k2p", Decision: "Pending"},
	{Time: 15.3, Kind: KindApproval, Connection: 1, Command: 3, Request: "billing-agent-x7k2p", Decision: "Approved", Deciders: []string{"alice", "bob\u202e"}, Message: "checked with finance"},
	{Time: 15.4, Kind: KindResult, Connection: 1, Command: 3, Tag: "UPDATE 5000", Rows: 5000},
	{Time: 16, Kind: KindConnect, Connection: 2},
	{Time: 16.5, Kind: KindCommand, Connection: 2, Command: 1, Text: "VACUUM", Verdict: "Allow", Audited: "Deny", Policy: "agents/trial", Rule: "default"},
	{Time: 17, Kind: KindApproval, Connection: 2, Command: 2, Request: "y", Decision: "Expired"},
	{Time: 17.5, Kind: KindApproval, Connection: 2, Command: 3, Request: "z", Decision: "Denied", Deciders: []string{"carol"}, Message: "not on Fridays"},
	{Time: 18, Kind: KindOutput, Connection: 2, Stream: "stdout", Data: "one\ntwo\x1b]0;pwned\x07\n"},
	{Time: 19, Kind: KindLost, Error: "3 events are missing: the spool is full"},
	{Time: 20, Kind: KindDisconnect, Connection: 2, Error: "reset by peer"},
	{Time: 20, Kind: KindDisconnect, Connection: 1},
	{Time: 21, Kind: KindEnd},
}

const storyText = `Recording  billing-agent-billing-x7k2p
Pod        agents/billing-agent-0 (service account billing)
Target     billing (postgres)
User       billing_rw
Policies   agents/billing-agent
Started    2026-09-30 10:00:00 UTC

10:00:00.000  1     connects to 10.96.4.7:5432, database billing, as billing_rw, calls itself "psql\x1b[2J"
10:00:00.120  1.1   SELECT id, card_number
                        FROM customers LIMIT 3
                    allowed: rule reads of agents/billing-agent
10:00:00.131  1.1   done in 11.2ms: SELECT 3, 3 rows, 120 bytes, 3 values masked
10:00:02.000  1.2   DROP TABLE customers
                    DENIED: rule no-schema-change of agents/billing-agent: schema changes go through migrations
10:00:02.000  1.2   FAILED in 100µs: refused, SQLSTATE 42501
10:00:03.000  1.3   UPDATE customers SET tier = 'x' … (70000 bytes in all, sha256 ab12)
                    NEEDS APPROVAL: rule unfiltered-writes of agents/billing-agent
10:00:03.010  1.3   waits for approval billing-agent-x7k2p
10:00:15.300  1.3   APPROVED by alice, bob\u202e (billing-agent-x7k2p) after 12.3s: checked with finance
10:00:15.400  1.3   done in 12.4s: UPDATE 5000, 5000 rows
10:00:16.000  2     connects
10:00:16.500  2.1   VACUUM
                    allowed: rule default of agents/trial (audit only; enforced it would be Deny)
10:00:17.000  2.2   nobody decided in time (y)
10:00:17.500  2.3   DENIED by carol (z): not on Fridays
10:00:18.000  2     stdout> one
                    stdout> two\x1b]0;pwned\x07
10:00:19.000        NOT RECORDED: 3 events are missing: the spool is full
10:00:20.000  2     disconnects: reset by peer
10:00:20.000  1     disconnects
10:00:21.000        the recording ends

2 connections, 4 commands, 3 denied, 1 approved, 5003 rows, 120 bytes, 3 values masked.
Verified: chunk 0. The recording is complete. Signed by the operator on 2026-09-30 11:00:00 UTC (key 34750f98bd59fcfc).
`

// storyChunks are events as one complete chunk.
func storyChunks(t testing.TB, events []Event) []*Chunk {
	t.Helper()
	var text []byte
	for i := range events {
		text = appendEvent(text, &events[i])
	}
	payload, err := pack(nil, text)
	if err != nil {
		t.Fatal(err)
	}
	sum := Sum(0, nil, payload)
	return []*Chunk{{Hash: sum[:], Payload: payload, Last: events[len(events)-1].Kind == KindEnd}}
}

func render(t testing.TB, format Format, events []Event) (string, Verification, error) {
	t.Helper()
	public, key := testKeys(1)
	chunks := storyChunks(t, events)
	head := signedHead(t, key, chunks)
	var b bytes.Buffer
	v, err := Render(&b, format, testMeta, each(chunks), func() *Head { return head }, KeyOf(public))
	return b.String(), v, err
}

func TestTimelineReadsLikeAStory(t *testing.T) {
	got, v, err := render(t, Text, story)
	if err != nil || v.State != Complete {
		t.Fatal(v, err)
	}
	if got != storyText {
		t.Errorf("got\n%s", diff(got, storyText))
	}
}

// diff shows the lines that differ.
func diff(got, want string) string {
	var b strings.Builder
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range max(len(g), len(w)) {
		a, c := "(none)", "(none)"
		if i < len(g) {
			a = g[i]
		}
		if i < len(w) {
			c = w[i]
		}
		if a != c {
			fmt.Fprintf(&b, "line %d:\n  got  %s\n  want %s\n", i+1, a, c)
		}
	}
	return b.String()
}

func TestTimelineOfABrokenLogSaysHowFarItGoes(t *testing.T) {
	chunks := testChain(t, 3)
	chunks[1].Hash = bytes.Repeat([]byte{1}, 32)
	var b bytes.Buffer
	v, err := Render(&b, Text, testMeta, each(chunks), func() *Head { return nil })
	if err != nil || v.State != Broken || v.Chunks != 1 {
		t.Fatal(v, err)
	}
	if !strings.Contains(b.String(), "Verified: chunk 0. The recording is BROKEN from there on: chunk 1 is not what its hash says. Not signed.") {
		t.Errorf("got %s", b.String())
	}
	if strings.Contains(b.String(), "1.3") { // the first command of chunk 1
		t.Errorf("a chunk is shown that does not verify")
	}
}

func TestJSONLinesAreTheEvents(t *testing.T) {
	got, _, err := render(t, Lines, story)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(got, "\n"), "\n")
	if len(lines) != len(story) {
		t.Fatalf("%d lines", len(lines))
	}
	for i, line := range lines {
		if e := decodeLine(t, []byte(line)); e.Kind != story[i].Kind || e.Text != story[i].Text || e.Data != story[i].Data {
			t.Errorf("line %d is %s", i, line)
		}
	}
	if strings.ContainsAny(got, "\x1b\x07\u202e") {
		t.Error("a line could act on a terminal")
	}
	chunks := testChain(t, 2)
	chunks[1].Hash = nil
	if _, err := Render(&bytes.Buffer{}, Lines, testMeta, each(chunks), func() *Head { return nil }); err == nil {
		t.Error("a broken log ends like a whole one")
	}
}

func TestAsciicast(t *testing.T) {
	got, _, err := render(t, Cast, []Event{
		{Time: 0, Kind: KindConnect},
		{Time: 0.1, Kind: KindResize, Columns: 120, Lines: 40},
		{Time: 0.2, Kind: KindCommand, Text: "shell", Verdict: "Allow"},
		{Time: 1, Kind: KindOutput, Stream: "stdout", Data: "$ "},
		{Time: 1.5, Kind: KindOutput, Stream: "stdout", Data: "ls\r\n\x1b[1mdir\x1b[0m\x1b]52;c;cm0=\x07\r\n"},
		{Time: 2, Kind: KindResize, Columns: 80, Lines: 24},
		{Time: 2.25, Kind: KindCommand, Text: "rm -rf /", Verdict: "Deny"},
		{Time: 2.5, Kind: KindOutput, Data: "\x1b[6n"},
		{Time: 3, Kind: KindOutput, Data: "bye"},
		{Time: 3, Kind: KindEnd},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := `{"version":3,"term":{"cols":120,"rows":40},"timestamp":1790762400,"title":"agents/billing-agent-billing-x7k2p"}
[0.200000, "m", "shell"]
[0.800000, "o", "$ "]
[0.500000, "o", "ls\r\n\u001b[1mdir\u001b[0m\r\n"]
[0.500000, "r", "80x24"]
[0.250000, "m", "Deny: rm -rf /"]
[0.750000, "o", "bye"]
`
	if got != want {
		t.Errorf("got\n%s", diff(got, want))
	}
	for _, line := range strings.Split(strings.TrimSpace(got), "\n") {
		if !json.Valid([]byte(line)) {
			t.Errorf("%s is not JSON", line)
		}
	}
	if _, _, err := render(t, Cast, story[:1]); !errors.Is(err, ErrNoTerminal) {
		t.Errorf("a log without output: %v", err)
	}
}

func TestFormatsHaveNamesAndMediaTypes(t *testing.T) {
	for name, want := range map[string]string{
		"": "text/plain; charset=utf-8", "text": "text/plain; charset=utf-8", "jsonl": "application/jsonl",
		"asciicast": "application/x-asciicast", "log": ContentType,
	} {
		f, err := ParseFormat(name)
		if err != nil || f.ContentType() != want {
			t.Errorf("%q: %s, %v", name, f.ContentType(), err)
		}
	}
	if _, err := ParseFormat("pdf"); err == nil || !strings.Contains(err.Error(), "asciicast") {
		t.Errorf("got %v", err)
	}
	if _, err := Render(&bytes.Buffer{}, Archive, testMeta, each(nil), nil); err == nil {
		t.Error("an archive is rendered")
	}
}

func TestPrintable(t *testing.T) {
	for text, want := range map[string]string{
		"plain ☕ text":             "plain ☕ text",
		"a\nb\rc\td":               `a\nb\rc\td`,
		"\x1b[31m\x00\x7f":         `\x1b[31m\x00\x7f`,
		"\u009b\u202e\u200b\ufeff": `\x9b\u202e\u200b\ufeff`,
		"\xff\xfe":                 `\xff\xfe`,
		"\U000e0041":               `\U000e0041`,
		"\ufffd":                   "\ufffd",
	} {
		if got := Printable(text); got != want {
			t.Errorf("%q: got %s, want %s", text, got, want)
		}
	}
}

func TestAWholeLogIsAZstdStreamOfItsEvents(t *testing.T) {
	chunks := testChain(t, 3)
	_, key := testKeys(1)
	name := filepath.Join(t.TempDir(), "log.zst")
	if err := os.WriteFile(name, testArchive(t, chunks, signedHead(t, key, chunks)), 0o600); err != nil {
		t.Fatal(err)
	}
	src, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	text, err := unpack(nil, src)
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(text, []byte("\n")); n != 10 || !bytes.Contains(text, []byte(`"kind":"end"`)) {
		t.Errorf("%d lines: %s", n, text)
	}
}
