package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgproto3/v2"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/postgres/catalogue"
	"github.com/chaperone-dev/chaperone/sidecar/record"
	"github.com/chaperone-dev/chaperone/sidecar/session"
)

// strict denies DROP, asks people about DELETE, masks and detects.
func strict(t testing.TB) *Rules {
	t.Helper()
	pg := policy.Postgres{
		TLSMode: policy.TLSDisable, DefaultAction: policy.Allow,
		Rules: []policy.Rule{
			{Name: "no-drop", Match: policy.Match{Commands: []string{"DROP"}}, Action: policy.Deny},
			{Name: "deletes", Match: policy.Match{Commands: []string{"DELETE"}}, Action: policy.RequireApproval,
				Approval: &policy.Approval{Required: 1, WaitSeconds: 60, InTransaction: "Refuse"}},
		},
		Masking: []policy.Masking{{Columns: []string{"public.customers.card"}}, {Detectors: []string{"CreditCard"}}},
		Limits:  policy.Limits{Rows: 1000, MaxStatementBytes: 2000},
	}
	return compiled(t, pg)
}

func compiled(t testing.TB, pg policy.Postgres) *Rules {
	t.Helper()
	set, err := policy.Compile(policy.Set{Policies: []policy.Policy{{
		Namespace: "ns", Name: "p", Recording: policy.Recording{Durability: policy.Spool, OnFailure: policy.Block},
		Targets: []policy.Target{{Name: "db", Hosts: []string{"db"}, Port: 5432, Postgres: &pg}},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	r, err := CompileRules(set.Lookup("db", 5432))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// relations is a catalogue of customers(id, card).
func relations(t testing.TB) *catalogue.Shared {
	t.Helper()
	b := catalogue.NewBuilder()
	for i, values := range [][]string{{"100", "public", "customers", "r", ""}, {"100", "1", "id", "f"}, {"100", "2", "card", "f"}} {
		row := make([][]byte, len(values))
		for k, v := range values {
			row[k] = []byte(v)
		}
		if err := b.Row(min(i+1, 2), row); err != nil {
			t.Fatal(err)
		}
	}
	shared := catalogue.NewShared(func() time.Time { return time.Unix(0, 0) }, time.Hour)
	shared.Set(b.Build(), 0)
	return shared
}

func newCore(t testing.TB, rules *Rules) (*Core, *[]record.Event) {
	t.Helper()
	var events []record.Event
	return New(Config{
		Rules:     func() *Rules { return rules },
		Record:    func(e record.Event) error { events = append(events, e); return nil },
		Catalogue: relations(t), HashKey: []byte("key"), Nonce: "nonce", Database: "app", User: "agent",
		SearchPath: []string{"public"}, Parameters: map[string]string{"standard_conforming_strings": "on", "client_encoding": "UTF8"},
	}), &events
}

func encode(messages ...interface{ Encode([]byte) ([]byte, error) }) []byte {
	var out []byte
	for _, m := range messages {
		var err error
		if out, err = m.Encode(out); err != nil {
			panic(err)
		}
	}
	return out
}

// turn is what one side says.
type turn struct {
	agent, server []byte
}

// conversation is a query with rows, a prepared statement, a refusal, an approval and a COPY.
func conversation() []turn {
	rowDescription := &pgproto3.RowDescription{Fields: []pgproto3.FieldDescription{
		{Name: []byte("id"), TableOID: 100, TableAttributeNumber: 1, DataTypeOID: 23},
		{Name: []byte("card"), TableOID: 100, TableAttributeNumber: 2, DataTypeOID: 25},
	}}
	row := &pgproto3.DataRow{Values: [][]byte{[]byte("1"), []byte("4111 1111 1111 1111")}}
	idle := &pgproto3.ReadyForQuery{TxStatus: 'I'}
	return []turn{
		{agent: encode(&pgproto3.Query{String: "SELECT id, card FROM customers"})},
		{server: encode(rowDescription, row, row, &pgproto3.CommandComplete{CommandTag: []byte("SELECT 2")}, idle)},
		{agent: encode(&pgproto3.Parse{Name: "s", Query: "SELECT id, card FROM customers WHERE id = $1"}, &pgproto3.Describe{ObjectType: 'S', Name: "s"}, &pgproto3.Sync{})},
		{server: encode(&pgproto3.ParseComplete{}, &pgproto3.ParameterDescription{ParameterOIDs: []uint32{23}}, rowDescription, idle)},
		{agent: encode(&pgproto3.Bind{PreparedStatement: "s", Parameters: [][]byte{[]byte("1")}}, &pgproto3.Execute{}, &pgproto3.Sync{})},
		{server: encode(&pgproto3.BindComplete{}, row, &pgproto3.CommandComplete{CommandTag: []byte("SELECT 1")}, idle)},
		{agent: encode(&pgproto3.Query{String: "DROP TABLE customers"}, &pgproto3.Query{String: "SELECT 1"})},
		{server: encode(&pgproto3.RowDescription{Fields: []pgproto3.FieldDescription{{Name: []byte("x"), DataTypeOID: 23}}},
			&pgproto3.DataRow{Values: [][]byte{[]byte("1")}}, &pgproto3.CommandComplete{CommandTag: []byte("SELECT 1")}, idle)},
		{agent: encode(&pgproto3.Query{String: "DELETE FROM customers"})},
		{server: encode(&pgproto3.CommandComplete{CommandTag: []byte("DELETE 2")}, idle)},
		{agent: encode(&pgproto3.Query{String: "COPY customers TO STDOUT"})},
		{server: encode(&pgproto3.CopyOutResponse{ColumnFormatCodes: []uint16{0, 0}}, &pgproto3.CopyData{Data: []byte("1\t4111 1111 1111 1111\n")},
			&pgproto3.CopyDone{}, &pgproto3.CommandComplete{CommandTag: []byte("COPY 1")}, idle)},
		{agent: encode(&pgproto3.Query{String: "COPY customers FROM STDIN"})},
		{server: encode(&pgproto3.CopyInResponse{ColumnFormatCodes: []uint16{0, 0}})},
		{agent: encode(&pgproto3.CopyData{Data: bytes.Repeat([]byte("2\tx\n"), 100)}, &pgproto3.CopyDone{})},
		{server: encode(&pgproto3.CommandComplete{CommandTag: []byte("COPY 100")}, idle)},
		{agent: encode(&pgproto3.Terminate{})},
	}
}

// ends collects what either side gets: send takes what there is, settle also grants whatever the core waits for.
func ends(c *Core, agent, server *[]byte) (send, settle func()) {
	send = func() {
		a, _ := c.ToAgent(nil)
		*agent = append(*agent, a...)
		s, _ := c.ToServer(nil)
		*server = append(*server, s...)
	}
	settle = func() {
		for send(); ; send() {
			switch c.Wait() {
			case WaitFlush:
				c.Flushed(nil)
			case WaitApproval:
				c.Noted("apr-1")
				c.Decided(&session.Grant{Request: "apr-1"}, nil)
			default:
				return
			}
		}
	}
	return send, settle
}

// play runs a conversation in pieces of a size and returns what either side got.
func play(t testing.TB, c *Core, turns []turn, size int) (agent, server []byte) {
	t.Helper()
	_, settle := ends(c, &agent, &server)
	for _, turn := range turns {
		for p := turn.agent; len(p) > 0; {
			n := min(size, len(p))
			c.Agent(bytes.Clone(p[:n]))
			p = p[n:]
			settle()
		}
		for p := turn.server; len(p) > 0; {
			n := min(size, len(p))
			piece := bytes.Clone(p[:n])
			if err := c.Server(piece); err != nil {
				t.Fatalf("server: %v", err)
			}
			p = p[n:]
			settle()
		}
	}
	return agent, server
}

func TestPiecesDoNotMatter(t *testing.T) {
	rules := strict(t)
	whole, _ := newCore(t, rules)
	agent, server := play(t, whole, conversation(), 1<<20)
	if bytes.Contains(agent, []byte("4111")) {
		t.Fatalf("a card shows: %q", agent)
	}
	if !bytes.Contains(agent, []byte("no-drop")) || !bytes.Contains(agent, []byte("apr-1")) || bytes.Contains(server, []byte("DROP")) {
		t.Fatalf("to the agent %q\nto the server %q", agent, server)
	}
	if !whole.Ended() || whole.Err() != nil {
		t.Fatalf("ended %v, %v", whole.Ended(), whole.Err())
	}
	for _, size := range []int{1, 2, 3, 5, 7, 64, 1000} {
		c, _ := newCore(t, rules)
		a, s := play(t, c, conversation(), size)
		if !bytes.Equal(a, agent) || !bytes.Equal(s, server) {
			t.Fatalf("in pieces of %d:\nto the agent %q\nwant         %q\nto the server %q\nwant          %q", size, a, agent, s, server)
		}
	}
}

func TestRecordedEvents(t *testing.T) {
	c, events := newCore(t, strict(t))
	play(t, c, conversation(), 1<<20)
	var got []string
	for _, e := range *events {
		got = append(got, strings.Join([]string{string(e.Kind), e.Verdict, e.Decision, e.Tag}, ":"))
	}
	want := "command:Allow:: result:::SELECT 2 command:Allow:: result:::SELECT 1 command:Deny:: command:Allow:: result:::SELECT 1 " +
		"command:RequireApproval:: approval::Pending: approval::Approved: result:::DELETE 2 command:Allow:: result:::COPY 1 command:Allow:: result:::COPY 100"
	if strings.Join(got, " ") != want {
		t.Fatalf("got  %s\nwant %s", strings.Join(got, " "), want)
	}
}

func TestHostileServer(t *testing.T) {
	query := encode(&pgproto3.Query{String: "SELECT 1"})
	tests := map[string][]byte{
		"an answer to nothing":                   encode(&pgproto3.ParseComplete{}),
		"an unknown type":                        {'!', 0, 0, 0, 4},
		"a length that is too small":             {'C', 0, 0, 0, 3},
		"a length that is negative":              {'C', 0xff, 0xff, 0xff, 0xff},
		"a status that is none":                  {'Z', 0, 0, 0, 5, 'X'},
		"a row that was not described":           encode(&pgproto3.DataRow{Values: [][]byte{[]byte("x")}}),
		"an authentication request":              {'R', 0, 0, 0, 8, 0, 0, 0, 3},
		"COPY both ways":                         {'W', 0, 0, 0, 7, 0, 0, 0},
		"COPY data out of turn":                  encode(&pgproto3.CopyData{Data: []byte("x")}),
		"a description of 2 GiB":                 {'T', 0x7f, 0xff, 0xff, 0xff},
		"a description that ends early":          {'T', 0, 0, 0, 8, 0, 9, 'x', 0},
		"a notification that ends early":         {'A', 0, 0, 0, 6, 0, 0},
		"a parameter that ends early":            {'S', 0, 0, 0, 6, 'x', 'y'},
		"another client_encoding":                encode(&pgproto3.ParameterStatus{Name: "client_encoding", Value: "LATIN1"}),
		"an error that ends early":               {'E', 0, 0, 0, 6, 'M', 'x'},
		"a portal suspended in a simple query":   encode(&pgproto3.PortalSuspended{}),
		"parameters described in a simple query": encode(&pgproto3.ParameterDescription{}),
	}
	for name, bytes := range tests {
		t.Run(name, func(t *testing.T) {
			c, _ := newCore(t, strict(t))
			if name != "an answer to nothing" {
				c.Agent(query)
			}
			if err := c.Server(bytes); err == nil {
				t.Fatal("taken")
			}
			out, _ := c.ToAgent(nil)
			if len(out) == 0 || out[0] != 'E' || !strings.Contains(string(out), "FATAL") || !c.Ended() {
				t.Fatalf("the agent was told %q", out)
			}
		})
	}
	rows := map[string][]byte{
		"more values than columns":        encode(&pgproto3.DataRow{Values: [][]byte{[]byte("4111111111111111"), []byte("4111111111111111")}}),
		"fewer values than columns":       encode(&pgproto3.DataRow{}),
		"a value longer than its row":     {'D', 0, 0, 0, 12, 0, 1, 0, 0, 0, 99, 'x', 'y'},
		"a value of negative length":      {'D', 0, 0, 0, 12, 0, 1, 0xff, 0xff, 0xff, 0x80, 'x', 'y'},
		"bytes behind the last value":     {'D', 0, 0, 0, 12, 0, 1, 0xff, 0xff, 0xff, 0xff, 'x', 'y'},
		"a count of values beyond reason": {'D', 0, 0, 0, 8, 0xff, 0xff, 0, 0},
		"a row without a count":           {'D', 0, 0, 0, 4},
	}
	for name, row := range rows {
		t.Run("a row with "+name, func(t *testing.T) {
			c, _ := newCore(t, strict(t))
			c.Agent(encode(&pgproto3.Query{String: "SELECT card FROM customers"}))
			describe := encode(&pgproto3.RowDescription{Fields: []pgproto3.FieldDescription{{Name: []byte("card"), TableOID: 100, TableAttributeNumber: 2, DataTypeOID: 25}}})
			_ = c.Server(append(describe, row...))
			out, _ := c.ToAgent(nil)
			if strings.Contains(string(out), "4111") {
				t.Fatalf("shows %q", out)
			}
		})
	}
}

func TestHostileAgent(t *testing.T) {
	tests := map[string][]byte{
		"an unknown type":             {'!', 0, 0, 0, 4},
		"a length that is too small":  {'Q', 0, 0, 0, 3},
		"a length that is negative":   {'Q', 0x80, 0, 0, 0},
		"a query without its zero":    {'Q', 0, 0, 0, 7, 'a', 'b', 'c'},
		"a query with a zero inside":  {'Q', 0, 0, 0, 8, 'a', 0, 'b', 0},
		"a sync with a body":          {'S', 0, 0, 0, 5, 0},
		"a parse without its types":   {'P', 0, 0, 0, 6, 0, 0},
		"a parse with too many types": {'P', 0, 0, 0, 8, 0, 0, 0xff, 0xff},
		"a describe of nothing known": {'D', 0, 0, 0, 6, 'X', 0},
		"a close without a name":      {'C', 0, 0, 0, 5, 'S'},
		"an execute cut short":        {'E', 0, 0, 0, 7, 0, 0, 0},
		"an execute of a megabyte":    {'E', 0, 0x10, 0, 0},
		"a password":                  {'p', 0, 0, 0, 6, 'x', 0},
	}
	for name, bytes := range tests {
		t.Run(name, func(t *testing.T) {
			c, _ := newCore(t, strict(t))
			c.Agent(bytes)
			out, _ := c.ToAgent(nil)
			toServer, _ := c.ToServer(nil)
			if !c.Ended() || !strings.Contains(string(out), "FATAL") || !strings.Contains(string(out), codeProtocolViolation) || len(toServer) > 0 {
				t.Fatalf("ended %v, told %q, sent %q", c.Ended(), out, toServer)
			}
		})
	}
	binds := map[string]string{
		"no formats":                  "\x00",
		"a negative count of values":  "\x00\x00\xff\xff",
		"a value that is not there":   "\x00\x00\x00\x01\x00\x00\x00\x05ab",
		"a value of length -2":        "\x00\x00\x00\x01\xff\xff\xff\xfe\x00\x00",
		"no result formats":           "\x00\x00\x00\x00",
		"bytes behind its end":        "\x00\x00\x00\x00\x00\x00!",
		"formats for other values":    "\x00\x02\x00\x00\x00\x00\x00\x01\xff\xff\xff\xff\x00\x00",
		"a result format of seven":    "\x00\x00\x00\x00\x00\x01\x00\x07",
		"the largest count of values": "\x00\x00\xff\xff\x7f\xff\xff\xff",
	}
	for name, body := range binds {
		t.Run("a bind with "+name, func(t *testing.T) {
			c, _ := newCore(t, strict(t))
			c.Agent(encode(&pgproto3.Parse{Query: "SELECT $1::text"}))
			frame := append([]byte{'B', 0, 0, 0, 0, 0, 0}, body...)
			binary.BigEndian.PutUint32(frame[1:], uint32(len(frame)-1))
			c.Agent(frame)
			toServer, _ := c.ToServer(nil)
			if !c.Ended() || bytes.ContainsRune(toServer, 'B') {
				t.Fatalf("ended %v, sent %q", c.Ended(), toServer)
			}
		})
	}
}

func TestDecisions(t *testing.T) {
	ask := func(t *testing.T) (*Core, *[]record.Event) {
		c, events := newCore(t, strict(t))
		c.Agent(encode(&pgproto3.Query{String: "DELETE FROM customers"}))
		if c.Wait() != WaitApproval {
			t.Fatalf("waits for %d", c.Wait())
		}
		return c, events
	}
	t.Run("what is not decided stays", func(t *testing.T) {
		c, _ := ask(t)
		c.Flushed(nil)
		c.Agent(encode(&pgproto3.Query{String: "SELECT 1"}))
		if out, _ := c.ToServer(nil); len(out) > 0 || c.Wait() != WaitApproval {
			t.Fatalf("sent %q", out)
		}
	})
	t.Run("a grant of nothing is none", func(t *testing.T) {
		c, _ := ask(t)
		c.Decided(nil, nil)
		c.Flushed(nil)
		if out, _ := c.ToServer(nil); len(out) > 0 {
			t.Fatalf("sent %q", out)
		}
	})
	t.Run("records that are not safe hold the statement back", func(t *testing.T) {
		c, _ := ask(t)
		c.Decided(&session.Grant{Request: "r"}, nil)
		c.Flushed(errors.New("no"))
		out, _ := c.ToServer(nil)
		told, _ := c.ToAgent(nil)
		if len(out) > 0 || !strings.Contains(string(told), "cannot be recorded") {
			t.Fatalf("sent %q, told %q", out, told)
		}
	})
	t.Run("the text that people see hides nothing", func(t *testing.T) {
		c, _ := newCore(t, strict(t))
		c.Agent(encode(&pgproto3.Query{String: "DELETE FROM customers /* \u202e 4111 1111 1111 1111 \x1b[2K */ WHERE id > 1"}))
		text := c.Ask().Text
		if strings.ContainsAny(text, "\u202e\x1b") || strings.Contains(text, "4111") || !strings.Contains(text, `\u{202e}`) || !strings.Contains(text, "WHERE id > 1") {
			t.Fatalf("asked %q", text)
		}
	})
	t.Run("a long text says how long it is", func(t *testing.T) {
		pg := policy.Postgres{TLSMode: policy.TLSDisable, DefaultAction: policy.RequireApproval}
		c, _ := newCore(t, compiled(t, pg))
		c.Agent(encode(&pgproto3.Query{String: "DELETE FROM customers WHERE " + strings.Repeat("id = 1 OR ", 1000) + "true"}))
		if c.Wait() != WaitApproval {
			t.Skipf("the default action does not ask: waits for %d", c.Wait())
		}
		if a := c.Ask(); !strings.Contains(a.Text, "the statement has 10032 bytes") || a.Length != 10032 {
			t.Fatalf("asked %d: ...%s", a.Length, a.Text[len(a.Text)-200:])
		}
	})
}
