package page_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-dev/chaperone/sidecar/record"
	"github.com/chaperone-dev/chaperone/sidecar/record/page"
)

var started = time.Date(2026, 5, 4, 9, 41, 7, 0, time.UTC)

// verified is what the verification of a whole log says.
func verified(events []record.Event) record.Verification {
	v := record.Verification{State: record.Complete, Chunks: 3, Signed: 3, KeyID: "6f1d2c9ab04e77d1"}
	for i := range events {
		e := &events[i]
		switch {
		case e.Kind == record.KindConnect:
			v.Counts.Connections++
		case e.Kind == record.KindCommand:
			v.Counts.Commands++
			if e.Verdict == "Deny" {
				v.Counts.Denied++
			}
		case e.Kind == record.KindApproval && e.Decision == "Approved":
			v.Counts.Approved++
		}
		v.Counts.Rows, v.Counts.Bytes, v.Counts.Masked = v.Counts.Rows+e.Rows, v.Counts.Bytes+e.Bytes, v.Counts.Masked+e.Masked
	}
	return v
}

// write writes the page of a recording to a file of its own.
func write(t *testing.T, meta record.Meta, events []record.Event) string {
	t.Helper()
	p := page.New(meta)
	for _, e := range events {
		if err := p.Event(e); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(t.TempDir(), "recording.html")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := p.Write(f, verified(events), "kubectl chaperone v0.1.0"); err != nil {
		t.Fatal(err)
	}
	return file
}

var sqlMeta = record.Meta{
	Log: strings.Repeat("4f", 16), Namespace: "agents", Recording: "billing-agent-7d9f4-billing-x7k2p", Pod: "billing-agent-7d9f4",
	ServiceAccount: "billing-agent", Target: "billing", Protocol: "postgres", User: "billing_rw", Policies: []string{"agents/billing"}, Start: started,
}

func sqlCommand(number uint64, at float64, verdict, rule, text, message string) record.Event {
	return record.Event{Time: at, Kind: record.KindCommand, Connection: 1, Command: number, Text: text, Verdict: verdict, Policy: "agents/billing", Generation: 4, Rule: rule, Message: message}
}

func sqlResult(number uint64, at float64, tag string, rows, bytes, masked int64) record.Event {
	return record.Event{Time: at, Kind: record.KindResult, Connection: 1, Command: number, Tag: tag, Rows: rows, Bytes: bytes, Masked: masked}
}

var sqlEvents = []record.Event{
	{Time: 0.012, Kind: record.KindConnect, Connection: 1, Protocol: "postgres", Peer: "10.96.14.3:5432", User: "billing_rw", Database: "billing", Client: "billing-agent 2.3"},
	sqlCommand(1, 0.4, "Allow", "reads", "SELECT id, name, plan, card_number\nFROM customers\nWHERE plan = 'trial' AND renewed_at < now() - interval '30 days'", ""),
	sqlResult(1, 0.431, "SELECT 42", 42, 3184, 42),
	sqlCommand(2, 5.1, "Deny", "no-schema-change", "ALTER TABLE customers ADD COLUMN churn_score numeric", "schema changes go through migrations"),
	sqlCommand(3, 9.7, "RequireApproval", "unfiltered-writes", "UPDATE customers SET plan = 'standard'", ""),
	{Time: 9.71, Kind: record.KindApproval, Connection: 1, Command: 3, Request: "billing-agent-7d9f4-03b4f2b5", Decision: "Pending"},
	{Time: 71.3, Kind: record.KindApproval, Connection: 1, Command: 3, Request: "billing-agent-7d9f4-03b4f2b5", Decision: "Approved", Deciders: []string{"dana@example.com"}, Message: "agreed with finance"},
	sqlResult(3, 71.34, "UPDATE 1337", 1337, 0, 0),
	sqlCommand(4, 80.2, "Allow", "writes", "INSERT INTO notes (customer, text) VALUES (17, 'moved to standard')", ""),
	sqlResult(4, 80.21, "INSERT 0 1", 1, 0, 0),
	sqlCommand(5, 93.8, "Allow", "reads", "SELECT * FROM invoises", ""),
	{Time: 93.81, Kind: record.KindResult, Connection: 1, Command: 5, SQLSTATE: "42P01", Error: `relation "invoises" does not exist`},
	{Time: 120.5, Kind: record.KindDisconnect, Connection: 1},
	{Time: 3600, Kind: record.KindEnd},
}

var terminalMeta = record.Meta{
	Log: strings.Repeat("a7", 16), Namespace: "agents", Recording: "ops-agent-0-bastion-p2m4t", Pod: "ops-agent-0", ServiceAccount: "ops-agent",
	Target: "bastion", Protocol: "ssh", User: "deploy", Policies: []string{"agents/ops"}, Start: started, Terminal: true,
}

func shows(at float64, text string) record.Event {
	return record.Event{Time: at, Kind: record.KindOutput, Connection: 1, Command: 1, Stream: "stdout", Data: text}
}

const prompt = "\x1b[1;32mdeploy@bastion\x1b[0m:\x1b[1;34m~\x1b[0m$ "

var terminalEvents = []record.Event{
	{Kind: record.KindConnect, Connection: 1, Protocol: "ssh", Peer: "10.0.4.2:22", User: "deploy", Client: "SSH-2.0-OpenSSH_9.2"},
	{Time: 0.1, Kind: record.KindResize, Connection: 1, Columns: 90, Lines: 20},
	{Time: 0.2, Kind: record.KindCommand, Connection: 1, Command: 1, Text: "an interactive terminal", Verdict: "Allow", Policy: "agents/ops", Rule: "terminals"},
	shows(0.6, prompt), shows(1.4, "systemctl status billing\r\n"),
	shows(1.6, "\x1b[1;31m●\x1b[0m billing.service - billing\r\n     Active: \x1b[1;31mfailed\x1b[0m (Result: exit-code)\r\n"),
	shows(1.7, prompt), shows(4.2, "journalctl -u billing -n 3\r\n"),
	shows(4.5, "09:38:10 billing[311]: connecting to db.prod.example\r\n09:38:11 billing[311]: password=********\r\n09:38:11 billing[311]: \x1b[31mFATAL\x1b[0m: too many connections\r\n"),
	// What was on the screen is written over, as full-screen programs do it.
	shows(300, prompt+"progress   0%"), shows(301, "\r\x1b[K"+prompt+"progress 100%\r\n"),
	shows(302, "\x1b]0;a title\x07\x1b]52;c;cm0gLXJmIC8=\x07"+prompt+"\x1b[7mdone\x1b[0m\r\n"),
	{Time: 303, Kind: record.KindResult, Connection: 1, Command: 1, Tag: "exit status 0"},
	{Time: 304, Kind: record.KindEnd},
}
