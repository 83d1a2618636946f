package postgres

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	sidecar "github.com/chaperone-dev/chaperone/sidecar/postgres"
)

// frame is a message with a length of its own choice; -1 is the right one.
func frame(kind byte, length int64, body string) []byte {
	if length < 0 {
		length = int64(len(body)) + 4
	}
	return append(binary.BigEndian.AppendUint32([]byte{kind}, uint32(length)), body...)
}

// short integers as they stand in messages.
func int16s(n ...int) string {
	var b []byte
	for _, v := range n {
		b = binary.BigEndian.AppendUint16(b, uint16(v))
	}
	return string(b)
}

func int32s(n ...int64) string {
	var b []byte
	for _, v := range n {
		b = binary.BigEndian.AppendUint32(b, uint32(v))
	}
	return string(b)
}

// forbidden is what hides in messages that are not what they seem.
const forbidden = "DELETE FROM orders; SELECT ssn FROM pii.people"

// hostile are bytes behind a login. None of them may reach the server as anything that it would run.
func hostile() map[string][]byte {
	query := string(frame('Q', -1, forbidden+"\x00"))
	sync := string(frame('S', -1, ""))
	cases := map[string]string{
		"a length that leaves out itself":               string(frame('Q', 0, forbidden+"\x00")),
		"a length of three":                             string(frame('Q', 3, forbidden+"\x00")),
		"a length that ends in the text":                string(frame('Q', 12, forbidden+"\x00")),
		"a length that is negative":                     string(frame('Q', 0xffffffff, forbidden+"\x00")),
		"a length at the end of what is signed":         string(frame('Q', 0x7fffffff, forbidden+"\x00")),
		"a text without an end":                         string(frame('Q', -1, forbidden)),
		"a text with an end inside":                     string(frame('Q', -1, "SELECT 1\x00"+forbidden+"\x00")),
		"a text behind zeros":                           string(frame('Q', -1, "\x00\x00"+forbidden+"\x00")),
		"an empty query with a body":                    string(frame('Q', -1, "\x00"+query)),
		"a sync with a body":                            string(frame('S', -1, query)),
		"a flush with a body":                           string(frame('H', -1, query)) + sync,
		"a termination with a body":                     string(frame('X', -1, query)) + query,
		"a query behind the termination":                string(frame('X', -1, "")) + query,
		"a password that nobody asked for":              string(frame('p', -1, query)) + sync,
		"data of no COPY":                               string(frame('d', -1, query)) + string(frame('c', -1, query)) + string(frame('f', -1, query)) + sync,
		"a statement name without an end":               string(frame('P', -1, "s")) + sync,
		"a statement text without an end":               string(frame('P', -1, "s\x00"+forbidden)) + sync,
		"more parameter types than there are":           string(frame('P', -1, "s\x00SELECT 1\x00"+int16s(0xffff)+int32s(23))) + sync,
		"fewer parameter types than there are":          string(frame('P', -1, "s\x00SELECT 1\x00"+int16s(0)+query)) + sync,
		"a bind without counts":                         string(frame('B', -1, "\x00\x00")) + sync,
		"a bind with a parameter of length -2":          string(frame('P', -1, "\x00SELECT $1::text\x00"+int16s(0))) + string(frame('B', -1, "\x00\x00"+int16s(0, 1)+int32s(-2)+int16s(0))) + sync,
		"a bind with a parameter longer than itself":    string(frame('P', -1, "\x00SELECT $1::text\x00"+int16s(0))) + string(frame('B', -1, "\x00\x00"+int16s(0, 1)+int32s(0x7fffffff)+"x"+int16s(0))) + sync,
		"a bind with more formats than it holds":        string(frame('P', -1, "\x00SELECT 1\x00"+int16s(0))) + string(frame('B', -1, "\x00\x00"+int16s(0xffff, 0, 0))) + sync,
		"a bind with a message behind":                  string(frame('P', -1, "\x00SELECT 1\x00"+int16s(0))) + string(frame('B', -1, "\x00\x00"+int16s(0, 0, 0)+query)) + sync,
		"a bind with formats that there are not":        string(frame('P', -1, "\x00SELECT 1\x00"+int16s(0))) + string(frame('B', -1, "\x00\x00"+int16s(0, 0, 1, 77))) + string(frame('E', -1, "\x00"+int32s(0))) + sync,
		"an execution without a limit":                  string(frame('E', -1, "\x00")) + sync,
		"an execution with a limit that is negative":    string(frame('P', -1, "\x00SELECT ssn FROM pii.people\x00"+int16s(0))) + string(frame('B', -1, "\x00\x00"+int16s(0, 0, 0))) + string(frame('E', -1, "\x00"+int32s(-5))) + sync,
		"a description of what there is not":            string(frame('D', -1, "X\x00")) + sync,
		"a description of nothing":                      string(frame('D', -1, "")) + sync,
		"a closing of what there is not":                string(frame('C', -1, "Q"+forbidden+"\x00")) + sync,
		"a function call":                               string(frame('F', -1, int32s(2089)+int16s(0, 0, 0))),
		"a function call with a message inside":         string(frame('F', -1, query)),
		"a function call of no length":                  string(frame('F', 4, "")) + query,
		"a start-up packet behind the login":            string(startupPacket(3<<16, "user", "x", "database", "evasion_one")) + query,
		"a cancel request behind the login":             int32s(16, 80877102, 1, 1) + query,
		"an SSL request behind the login":               int32s(8, 80877103) + query,
		"a message in the other direction, of the rows": string(frame('T', -1, query)) + sync,
	}
	for _, kind := range []byte{0, 1, '\n', '!', 'K', 'R', 'W', 'Z', 'v', 0x7f, 0x80, 0xff} {
		cases[fmt.Sprintf("a message of type %q", kind)] = string(frame(kind, -1, query)) + query
	}
	out := make(map[string][]byte)
	for name, c := range cases {
		out[name] = []byte(c)
	}
	return out
}

func startupPacket(version uint32, parameters ...string) []byte {
	var body strings.Builder
	for _, p := range parameters {
		body.WriteString(p + "\x00")
	}
	body.WriteByte(0)
	p := binary.BigEndian.AppendUint32(nil, uint32(8+body.Len()))
	return append(binary.BigEndian.AppendUint32(p, version), body.String()...)
}

// open sends a start-up packet as it is.
func open(t *testing.T, f *front, packet []byte) *adversary {
	t.Helper()
	conn, err := net.DialTimeout("tcp", f.Address(), patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	a := &adversary{t: t, conn: conn}
	a.front = pgproto3.NewFrontend(io.TeeReader(conn, &a.received), conn)
	a.raw(packet)
	a.until(1)
	return a
}

// rest reads until the sidecar hangs up or has nothing to say for a while.
func (a *adversary) rest(pause time.Duration) {
	buf := make([]byte, 4096)
	for {
		if err := a.conn.SetReadDeadline(time.Now().Add(pause)); err != nil {
			return
		}
		n, err := a.conn.Read(buf)
		a.received.Write(buf[:n])
		if err != nil {
			a.lost = err
			return
		}
	}
}

// unharmed holds that nothing was learnt or changed, and that the sidecar goes on serving.
func (w *world) unharmed(t *testing.T, f *front, a *adversary) {
	t.Helper()
	s := w.sides[0]
	if what := s.secrets.find(a.said()); what != "" {
		t.Errorf("received: %s", what)
	}
	if now := w.snapshot(t, s.judge); now != s.state {
		t.Errorf("the database has changed:\n%s", cut(strings.Join(changes(s.state, now), "\n"), 1000))
		w.build(t, 0)
	}
	b := attack(t, f.Address(), "whoever", s.database, nil)
	defer b.conn.Close()
	b.send(&pgproto3.Query{String: "SELECT 'still', 'here'"})
	b.until(1)
	if !strings.Contains(b.received.String(), "here") {
		t.Errorf("the next session does not work: %q, %v", b.received.String(), b.lost)
	}
}

// protocol attacks by messages, where the cases of files attack by statements.
func (w *world) protocol(t *testing.T) {
	f := w.rules["rules"]
	database := w.sides[0].database
	t.Run("hostile messages", func(t *testing.T) {
		for name, bytes := range hostile() {
			t.Run(name, func(t *testing.T) {
				a := attack(t, f.Address(), "whoever", database, nil)
				a.raw(bytes)
				a.rest(100 * time.Millisecond)
				w.unharmed(t, f, a)
			})
		}
	})
	t.Run("half messages", func(t *testing.T) {
		whole := append(frame('P', -1, "\x00DELETE FROM scratch\x00"+int16s(0)), frame('B', -1, "\x00\x00"+int16s(0, 0, 0))...)
		whole = append(append(whole, frame('E', -1, "\x00"+int32s(0))...), frame('S', -1, "")...)
		for _, end := range []string{"hung up", "left alone"} {
			t.Run(end, func(t *testing.T) {
				for n := 1; n < len(whole); n += 3 {
					a := attack(t, f.Address(), "whoever", database, nil)
					a.raw(whole[:n])
					if end == "hung up" {
						a.conn.Close()
					}
				}
				w.unharmed(t, f, &adversary{t: t})
			})
		}
		t.Run("a byte at a time", func(t *testing.T) {
			a := attack(t, f.Address(), "whoever", database, nil)
			for _, b := range whole {
				a.raw([]byte{b})
			}
			if errs := a.until(1); len(errs) != 1 || !strings.Contains(errs[0].Detail, `rule "unfiltered-writes"`) {
				t.Errorf("got %+v", errs)
			}
			w.unharmed(t, f, a)
		})
	})
	t.Run("past a refusal", func(t *testing.T) { w.pastARefusal(t, f) })
	t.Run("behind padding", func(t *testing.T) { w.padding(t, f) })
	t.Run("floods", func(t *testing.T) { w.floods(t, f) })
	t.Run("cancel keys", func(t *testing.T) { w.cancelKeys(t, f) })
	t.Run("start-up packets", func(t *testing.T) { w.startups(t, f) })
	t.Run("what changes between Parse and Bind", func(t *testing.T) { w.changesBetween(t) })
	t.Run("portals and pipelines", w.portals)
	t.Run("a policy that changes under a portal", w.policyChanges)
	t.Run("what runs as it is bound", w.recordedAtBind)
}

// pastARefusal sends work behind what is refused, in one write.
func (w *world) pastARefusal(t *testing.T, f *front) {
	refused := &pgproto3.Parse{Query: "DELETE FROM orders"}
	work := []pgproto3.FrontendMessage{&pgproto3.Parse{Query: "INSERT INTO scratch VALUES (99, 'past')"}, &pgproto3.Bind{}, &pgproto3.Execute{}}
	then := func(m ...pgproto3.FrontendMessage) []pgproto3.FrontendMessage {
		return append(append([]pgproto3.FrontendMessage{refused}, m...), &pgproto3.Sync{})
	}
	for name, messages := range map[string][]pgproto3.FrontendMessage{
		"a statement":                  then(work...),
		"a query":                      then(&pgproto3.Query{String: "INSERT INTO scratch VALUES (99, 'past')"}),
		"a flush and a statement":      then(append([]pgproto3.FrontendMessage{&pgproto3.Flush{}}, work...)...),
		"a binding of the refused":     then(&pgproto3.Bind{}, &pgproto3.Execute{}),
		"a function call":              then(&pgproto3.FunctionCall{Function: 1299}, work[0], work[1], work[2]),
		"work before, in one pipeline": append(append([]pgproto3.FrontendMessage{}, work...), refused, &pgproto3.Bind{}, &pgproto3.Execute{}, &pgproto3.Sync{}),
	} {
		t.Run(name, func(t *testing.T) {
			a := attack(t, f.Address(), "whoever", w.sides[0].database, nil)
			a.send(messages...)
			errs := a.until(1)
			refusals := 0
			for _, e := range errs {
				if strings.Contains(e.Detail, `rule "unfiltered-writes"`) {
					refusals++
				}
			}
			if refusals != 1 {
				t.Errorf("%d refusals: %+v", refusals, errs)
			}
			a.alive(&script{})
			w.unharmed(t, f, a)
		})
	}
}

// padding hides what is forbidden in front of, behind and amid much that means nothing, up to the cap and over it.
func (w *world) padding(t *testing.T, f *front) {
	half, over := 500_000, 1_100_000
	for name, text := range map[string]string{
		"blanks before it":                strings.Repeat(" ", half) + "DELETE FROM orders",
		"blanks amid it":                  "DELETE" + strings.Repeat("\n", half) + "FROM orders",
		"a comment before it":             "/*" + strings.Repeat("x", half) + "*/DELETE FROM orders",
		"a comment behind it":             "DELETE FROM orders --" + strings.Repeat("x", half),
		"empty statements before it":      strings.Repeat(";", half) + "DELETE FROM orders",
		"a literal before it":             "SELECT '" + strings.Repeat("x", half) + "'; DELETE FROM orders",
		"blanks before it, over the cap":  strings.Repeat(" ", over) + "DELETE FROM orders",
		"a comment behind, over the cap":  "DELETE FROM orders --" + strings.Repeat("x", over),
		"a literal before, over the cap":  "SELECT '" + strings.Repeat("x", over) + "'; DELETE FROM orders",
		"a length of the cap and no more": "DELETE FROM orders" + strings.Repeat(" ", 1<<20-18-1),
	} {
		t.Run(name, func(t *testing.T) {
			for how, messages := range map[string][]pgproto3.FrontendMessage{
				"in a query":   {&pgproto3.Query{String: text}},
				"as statement": {&pgproto3.Parse{Query: text}, &pgproto3.Bind{}, &pgproto3.Execute{}, &pgproto3.Sync{}},
			} {
				a := attack(t, f.Address(), "whoever", w.sides[0].database, nil)
				a.send(messages...)
				if errs := a.until(1); len(errs) != 1 {
					t.Errorf("%s: got %+v", how, errs)
				}
				a.alive(&script{})
				a.conn.Close()
				w.unharmed(t, f, a)
			}
		})
	}
}

// floods send more than anybody needs.
func (w *world) floods(t *testing.T, f *front) {
	database := w.sides[0].database
	session := func(t *testing.T) *adversary { return attack(t, f.Address(), "whoever", database, nil) }
	t.Run("of syncs", func(t *testing.T) {
		a := session(t)
		a.raw([]byte(strings.Repeat(string(frame('S', -1, "")), 5000)))
		a.until(5000)
		a.alive(&script{})
	})
	t.Run("of refusals", func(t *testing.T) {
		a := session(t)
		one := string(frame('P', -1, "\x00DELETE FROM orders\x00"+int16s(0))) + string(frame('S', -1, ""))
		a.raw([]byte(strings.Repeat(one, 2000)))
		if errs := a.until(2000); len(errs) != 2000 {
			t.Errorf("%d refusals", len(errs))
		}
		a.alive(&script{})
		w.unharmed(t, f, a)
	})
	t.Run("of names", func(t *testing.T) {
		a := session(t)
		var all strings.Builder
		for i := range 10_100 {
			all.Write(frame('P', -1, fmt.Sprintf("s%d\x00SELECT %d\x00%s", i, i, int16s(0))))
			all.Write(frame('S', -1, ""))
		}
		go a.raw([]byte(all.String()))
		errs := a.until(10_100)
		if len(errs) == 0 {
			t.Error("nothing bounds the names of statements")
		}
		for _, e := range errs {
			if e.Code != "53400" {
				t.Fatalf("got %+v", e)
			}
		}
		a.alive(&script{})
	})
	t.Run("of connections that say nothing", func(t *testing.T) {
		for i := range 300 {
			conn, err := net.DialTimeout("tcp", f.Address(), patience)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { conn.Close() })
			if i%2 == 0 { // half a length
				if _, err := conn.Write([]byte{0, 0}); err != nil {
					t.Fatal(err)
				}
			}
		}
		w.unharmed(t, f, &adversary{t: t})
	})
	t.Run("of messages whose end never comes", func(t *testing.T) {
		for range 40 {
			a := session(t)
			a.raw(frame('Q', 900_000, strings.Repeat("x", 1000)))
			defer a.conn.Close()
		}
		w.unharmed(t, f, &adversary{t: t})
	})
	t.Run("of nesting", func(t *testing.T) {
		a := session(t)
		for _, text := range []string{
			"SELECT " + strings.Repeat("(", 50_000) + "1", "SELECT " + strings.Repeat("-", 0) + strings.Repeat("NOT ", 100_000) + "true",
			strings.Repeat("EXPLAIN ", 50_000) + "SELECT 1", "SELECT " + strings.Repeat("a[", 50_000), "SELECT '" + strings.Repeat("x", 900_000) + "'",
			strings.Repeat("SELECT 1;", 50_000), "/*" + strings.Repeat("/*", 100_000), "SELECT * FROM " + strings.Repeat("(SELECT * FROM ", 20_000),
		} {
			a.send(&pgproto3.Query{String: text})
			a.until(1)
			if a.lost != nil {
				t.Fatalf("the session is gone after %q: %v", cut(text, 40), a.lost)
			}
		}
		a.alive(&script{})
		w.unharmed(t, f, a)
	})
}

// cancelKeys guesses, and uses keys where they do not belong.
func (w *world) cancelKeys(t *testing.T, f *front) {
	database := w.sides[0].database
	victim := attack(t, f.Address(), "whoever", database, nil)
	other := attack(t, f.Address(), "whoever", database, nil)
	key := func(a *adversary) []byte {
		b := a.received.Bytes()
		for len(b) > 5 {
			n := int(binary.BigEndian.Uint32(b[1:])) + 1
			if b[0] == 'K' {
				return b[5:n]
			}
			b = b[n:]
		}
		t.Fatal("no key was given")
		return nil
	}
	mine := key(other)
	pid := key(victim)[:4]
	victim.send(&pgproto3.Query{String: "SELECT pg_sleep(3), 'slept'"})
	cancel := func(pid, secret []byte) {
		conn, err := net.DialTimeout("tcp", f.Address(), patience)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		body := append(append(binary.BigEndian.AppendUint32(nil, 80877102), pid...), secret...)
		if _, err := conn.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(body)+4)), body...)); err != nil {
			t.Fatal(err)
		}
		_ = conn.SetReadDeadline(time.Now().Add(patience))
		if n, err := conn.Read(make([]byte, 1)); n != 0 || err == nil {
			t.Errorf("a cancel request is answered")
		}
	}
	for range 200 {
		guess := make([]byte, 4)
		rand.Read(guess)
		cancel(pid, guess)
	}
	cancel(pid, mine[4:])                 // the other session's secret
	cancel(pid, []byte{0, 0, 0, 0})       // none
	cancel(pid, make([]byte, 32))         // of another length
	cancel(pid, append(mine[4:], pid...)) // longer than any
	cancel([]byte{0, 0, 0, 0}, mine[4:])  // of nobody
	cancel(mine[:4], key(victim)[4:])     // each other's
	if errs := victim.until(1); len(errs) != 0 || !strings.Contains(victim.received.String(), "slept") {
		t.Errorf("cancelled by a guess: %+v", errs)
	}
	victim.send(&pgproto3.Query{String: "SELECT pg_sleep(600)"})
	for len(victim.received.Bytes()) > 0 { // the right key, until it hits
		cancel(pid, key(victim)[4:])
		victim.rest(200 * time.Millisecond)
		if strings.Contains(victim.received.String(), "57014") {
			break
		}
	}
}

// startups log in by packets that say more than one thing, and then ask for what the rules forbid.
func (w *world) startups(t *testing.T, f *front) {
	database := w.sides[0].database
	as := func(more ...string) []byte {
		return startupPacket(3<<16, append([]string{"user", "whoever", "database", database}, more...)...)
	}
	padded := as()
	padded = append(padded, make([]byte, 3000)...)
	binary.BigEndian.PutUint32(padded, uint32(len(padded)))
	hidden := append(as(), "search_path\x00pii\x00\x00"...)
	binary.BigEndian.PutUint32(hidden, uint32(len(hidden)))
	for name, packet := range map[string][]byte{
		"zeros behind the end":             padded,
		"a parameter behind the end":       hidden,
		"a schema twice":                   as("search_path", "public", "search_path", "pii"),
		"a schema twice, the other way":    as("search_path", "pii", "search_path", "public"),
		"a schema in capitals":             as("SEARCH_PATH", "pii"),
		"a schema and another by options":  as("search_path", "public", "options", "-c search_path=pii"),
		"options without a space":          as("options", "-csearch_path=pii"),
		"options with many":                as("options", "  -c   search_path=pii\t-c geqo=off "),
		"options with a tab":               as("options", "-c\tsearch_path=pii"),
		"options with a backslash":         as("options", `-c search_path=public,\ pii`),
		"options by two dashes":            as("options", "--search_path=pii"),
		"options by two dashes and hyphen": as("options", "--search-path=pii"),
		"options twice":                    as("options", "-c geqo=off", "options", "-c search_path=pii"),
		"a role":                           as("role", "pii"),
		"an authorization":                 as("session_authorization", "pii"),
		"replication":                      as("replication", "database"),
		"replication by number":            as("replication", "1"),
		"replication in capitals":          as("REPLICATION", "on"),
		"strings that mean something else": as("standard_conforming_strings", "off"),
		"strings by options":               as("options", "-c standard_conforming_strings=off"),
		"an encoding":                      as("client_encoding", "SJIS"),
		"an encoding by options":           as("options", "-c client_encoding=SJIS"),
		"options of the protocol":          as("_pq_.search_path", "pii", "_pq_.role", "pii"),
		"a minor version of the future":    startupPacket(3<<16|77, "user", "whoever", "database", database, "search_path", "pii"),
		"version 2":                        startupPacket(2<<16, "user", "whoever", "database", database),
		"a library to load":                as("local_preload_libraries", "x", "session_preload_libraries", "x"),
		"an empty name":                    as("", "search_path", "pii", ""),
		"another user twice":               startupPacket(3<<16, "user", "whoever", "user", "postgres", "database", database),
		"another database twice":           startupPacket(3<<16, "user", "whoever", "database", database, "database", "postgres"),
	} {
		t.Run(name, func(t *testing.T) {
			a := open(t, f, packet)
			if a.lost == nil {
				for _, text := range []string{"SELECT ssn FROM people WHERE ssn <> 'none'", `SELECT '\', ssn FROM pii.people --'`, "IDENTIFY_SYSTEM", "DELETE FROM orders"} {
					a.send(&pgproto3.Query{String: text})
					a.until(1)
				}
			}
			w.unharmed(t, f, a)
		})
	}
	t.Run("in clear behind the request for TLS", func(t *testing.T) {
		a := open(t, f, append([]byte{0, 0, 0, 8, 4, 0xd2, 0x16, 0x2f}, as()...))
		if a.lost == nil {
			t.Error("a session began")
		}
		w.unharmed(t, f, a)
	})
}

// changesBetween has a statement mean something else when it is bound than when it was parsed.
func (w *world) changesBetween(t *testing.T) {
	side := w.sides[0]
	parse := func(a *adversary, text string) {
		a.send(&pgproto3.Parse{Name: "s", Query: text}, &pgproto3.Describe{ObjectType: 'S', Name: "s"}, &pgproto3.Sync{})
		if errs := a.until(1); len(errs) > 0 {
			t.Fatalf("%+v", errs[0])
		}
	}
	run := func(a *adversary) []*pgproto3.ErrorResponse {
		a.send(&pgproto3.Bind{PreparedStatement: "s"}, &pgproto3.Execute{}, &pgproto3.Sync{})
		return a.until(1)
	}
	t.Run("the schemas", func(t *testing.T) {
		f := w.rules["rules"]
		a := attack(t, f.Address(), "whoever", side.database, nil)
		parse(a, "SELECT ssn FROM people")
		a.send(&pgproto3.Query{String: "SET search_path = pii"})
		a.until(1)
		if errs := run(a); len(errs) != 1 || !strings.Contains(errs[0].Detail, `rule "no-people"`) {
			t.Errorf("got %+v", errs)
		}
		w.unharmed(t, f, a)
	})
	for name, change := range map[string]string{
		"the view, by somebody else":                  "CREATE OR REPLACE VIEW customer_names AS SELECT id, card_number AS name FROM customers",
		"the table behind the name, by somebody else": "ALTER VIEW customer_names RENAME TO was; CREATE VIEW customer_names AS SELECT id, card_number AS name FROM customers",
		"the column's name, by somebody else":         "ALTER VIEW customer_names RENAME TO was; ALTER VIEW customer_cards RENAME TO customer_names; ALTER VIEW customer_names RENAME name TO id; ALTER VIEW customer_names RENAME what TO name",
	} {
		t.Run(name, func(t *testing.T) {
			// What somebody changes past the sidecar is known once the catalogue's age is up.
			f := w.sidecarUnder(t, policies()["masking"], func(o *sidecar.Options) { o.CatalogueAge = time.Millisecond })
			a := attack(t, f.Address(), "whoever", side.database, nil)
			parse(a, "SELECT id, name FROM customer_names")
			if errs := run(a); len(errs) > 0 {
				t.Fatalf("%+v", errs[0])
			}
			w.must(t, side.judge, change)
			run(a)
			if what := side.secrets.find(a.said()); what != "" {
				t.Errorf("received: %s", what)
			}
			a.alive(&script{})
			w.build(t, 0)
		})
	}
}
