package postgres

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/test/postgressidecar"
)

// Messages of the extended protocol, short.
func query(text string) pgproto3.FrontendMessage { return &pgproto3.Query{String: text} }
func parse(name, text string) pgproto3.FrontendMessage {
	return &pgproto3.Parse{Name: name, Query: text}
}
func bind(portal, statement string) pgproto3.FrontendMessage {
	return &pgproto3.Bind{DestinationPortal: portal, PreparedStatement: statement}
}
func execute(portal string, rows uint32) pgproto3.FrontendMessage {
	return &pgproto3.Execute{Portal: portal, MaxRows: rows}
}
func describe(portal string) pgproto3.FrontendMessage {
	return &pgproto3.Describe{ObjectType: 'P', Name: portal}
}
func closePortal(name string) pgproto3.FrontendMessage {
	return &pgproto3.Close{ObjectType: 'P', Name: name}
}

var syncing, flush = &pgproto3.Sync{}, &pgproto3.Flush{}

// pipelines are sent under the policy that masks, one after the other, each in one write; each ends with as many
// ReadyForQuery as ends says.
type pipeline struct {
	messages []pgproto3.FrontendMessage
	ends     int
}

func one(m ...pgproto3.FrontendMessage) pipeline { return pipeline{m, 1} }

// reading is what is read by name and computed upon, so that its result has no origin by which it would be known.
const reading = "SELECT card_number || 'x' FROM customers"

// pipelines are what an adversary does with portals and pipelines.
func pipelines() map[string][]pipeline {
	shadow := query("CREATE TEMP TABLE customers (id int, card_number text, name text)")
	elsewhere := one(query("CREATE SCHEMA s; SET search_path = s, public"))
	there := query("CREATE TABLE s.customers (id int, card_number text, name text)")
	opened := []pipeline{one(query("BEGIN")), one(parse("", reading), bind("p", ""), syncing)}
	suspended := []pipeline{one(query("BEGIN")), one(parse("", reading), bind("p", ""), execute("p", 1), syncing)}
	rest := one(execute("p", 0), syncing)
	then := func(before []pipeline, after ...pipeline) []pipeline {
		return append(append([]pipeline{}, before...), after...)
	}
	return map[string][]pipeline{
		"a portal from before a temporary table, executed":            then(opened, one(shadow), rest),
		"a portal from before a temporary table, described":           then(opened, one(shadow), one(describe("p"), execute("p", 0), syncing)),
		"a portal from before a temporary table, fetched":             then(opened, one(shadow), one(query("FETCH ALL FROM p"))),
		"a portal from before a temporary table, by a prepared FETCH": then(opened, one(shadow), one(parse("f", "FETCH ALL FROM p"), bind("", "f"), execute("", 0), syncing)),
		"a portal from before a new table, executed":                  append([]pipeline{elsewhere}, then(opened, one(there), rest)...),
		"a portal from before a new table, in the same pipeline":      {elsewhere, one(parse("", reading), bind("p", ""), parse("t", "CREATE TABLE s.customers (id int, card_number text, name text)"), bind("", "t"), execute("", 0), execute("p", 0), syncing)},
		"a portal from before another search_path":                    append([]pipeline{one(query("CREATE SCHEMA s; CREATE TABLE s.customers (card_number text)"))}, then(opened, one(query("SET LOCAL search_path = s")), rest)...),
		"a suspended portal, a temporary table":                       then(suspended, one(shadow), rest),
		"a suspended portal, a new table":                             append([]pipeline{elsewhere}, then(suspended, one(there), one(execute("p", 1), execute("p", 1), syncing), rest)...),
		"a suspended portal over a view that is replaced":             {one(query("BEGIN")), one(parse("", "SELECT what || 'x' FROM customer_cards"), bind("p", ""), execute("p", 1), syncing), one(query("DROP VIEW customer_cards")), one(query("CREATE VIEW customer_cards AS SELECT id AS who, name AS what, name FROM customers")), rest},
		"a suspended portal behind a savepoint that failed":           then(suspended, one(query("SAVEPOINT a")), one(query("SELECT 1/0")), one(describe("p"), syncing), one(query("ROLLBACK TO a")), rest),
		"a suspended portal, another of its name":                     then(suspended, one(parse("q", "SELECT name FROM customers"), bind("p", "q"), syncing), rest),
		"a suspended portal, closed and bound again":                  then(suspended, one(closePortal("p"), parse("q", "SELECT name FROM customers"), bind("p", "q"), syncing), one(closePortal("p"), parse("", reading), bind("p", ""), execute("p", 0), syncing)),
		"the unnamed portal, another unnamed statement":               {one(parse("", reading), bind("", ""), parse("", "SELECT name FROM customers"), execute("", 1), execute("", 0), syncing)},
		"the unnamed statement, another unnamed portal":               {one(parse("", "SELECT name FROM customers"), bind("", ""), parse("", reading), bind("", ""), execute("", 0), syncing)},
		"a name that is closed and parsed again in a pipeline":        {one(parse("s", "SELECT name FROM customers"), bind("", "s"), &pgproto3.Close{ObjectType: 'S', Name: "s"}, parse("s", reading), bind("p", "s"), execute("", 0), execute("p", 0), syncing)},
		"a name that a failed pipeline took back":                     {one(parse("s", reading), syncing), one(parse("x", "SELECT 1/0"), bind("", "x"), execute("", 0), &pgproto3.Close{ObjectType: 'S', Name: "s"}, parse("s", "SELECT name FROM customers"), syncing), one(bind("", "s"), execute("", 0), syncing)},
		"a name that a refused pipeline took back":                    {one(parse("s", reading), syncing), one(parse("x", "SELECT pg_read_file('x')"), &pgproto3.Close{ObjectType: 'S', Name: "s"}, parse("s", "SELECT name FROM customers"), syncing), one(bind("", "s"), execute("", 0), syncing)},
		"a description that a failure skipped":                        {one(parse("s", reading), syncing), one(parse("x", "SELECT 1/0"), bind("", "x"), execute("", 0), bind("", "s"), execute("", 0), syncing), one(bind("", "s"), execute("", 0), syncing)},
		"a description that a refusal skipped":                        {one(parse("s", reading), syncing), one(parse("x", "SELECT name FROM customers"), bind("", "x"), execute("", 0), parse("", "SELECT pg_read_file('x')"), describe(""), bind("", "s"), execute("", 0), syncing), one(bind("", "s"), execute("", 0), syncing)},
		"a query inside an open pipeline":                             {{[]pgproto3.FrontendMessage{parse("s", reading), bind("", "s"), execute("", 1), query(reading), execute("", 0), syncing}, 2}},
		"a query that is refused inside an open pipeline":             {{[]pgproto3.FrontendMessage{parse("s", reading), bind("", "s"), execute("", 1), query("SELECT pg_read_file('x')"), bind("", "s"), execute("", 0), syncing}, 2}},
		"a query that is no query inside an open pipeline":            {{[]pgproto3.FrontendMessage{parse("s", reading), bind("", "s"), query("SELEC"), bind("", "s"), execute("", 0), syncing}, 2}},
		"a pipeline without an end before a query":                    {{[]pgproto3.FrontendMessage{parse("", reading), bind("", ""), flush, execute("", 1), flush, query("SELECT name FROM customers")}, 1}},
		"COPY out amid a pipeline":                                    {one(parse("", "COPY customers TO STDOUT"), bind("", ""), execute("", 0), parse("", reading), bind("", ""), execute("", 0), parse("", "COPY (SELECT pin FROM customers) TO STDOUT (FORMAT binary)"), bind("", ""), describe(""), execute("", 0), syncing)},
		"COPY in amid a pipeline":                                     {one(parse("", "COPY scratch FROM STDIN"), bind("", ""), execute("", 0), &pgproto3.CopyData{Data: []byte("9\tx\n")}, &pgproto3.CopyDone{}, parse("", reading), bind("", ""), execute("", 0), syncing)},
		"COPY in that fails amid a pipeline":                          {one(parse("", "COPY scratch FROM STDIN"), bind("", ""), execute("", 0), &pgproto3.CopyData{Data: []byte("nine\tx\n")}, &pgproto3.CopyDone{}, parse("", reading), bind("", ""), execute("", 0), syncing), one(parse("", reading), bind("", ""), execute("", 0), syncing)},
		"a portal of no rows, described by another":                   {one(parse("s", reading), bind("p", "s"), describe("p"), bind("q", "s"), execute("q", 0), execute("p", 0), syncing)},
		"a portal in binary beside one in text":                       {one(parse("s", "SELECT pin, card_number FROM customers"), &pgproto3.Bind{DestinationPortal: "p", PreparedStatement: "s", ResultFormatCodes: []int16{1, 0}}, &pgproto3.Bind{DestinationPortal: "q", PreparedStatement: "s", ResultFormatCodes: []int16{0, 1}}, execute("q", 1), execute("p", 1), execute("q", 0), execute("p", 0), syncing)},
	}
}

// portals sends every pipeline to both databases, at once and byte by byte.
func (w *world) portals(t *testing.T) {
	f := w.rules["masking"]
	for name, steps := range pipelines() {
		t.Run(name, func(t *testing.T) {
			for _, how := range []string{"at once", "byte by byte"} {
				var seen [2]string
				for i, s := range w.sides {
					a := attack(t, f.Address(), "whoever", s.database, nil)
					for _, p := range steps {
						if how == "at once" {
							a.send(p.messages...)
						} else {
							a.slowly(p.messages)
						}
						a.feedNothing(p.ends)
					}
					if what := s.secrets.find(a.said()); what != "" {
						t.Errorf("%s: received: %s", how, what)
					}
					seen[i] = a.comparable()
					a.alive(&script{})
					a.conn.Close()
					w.inspect(t, i, &script{options: map[string]string{"changes": ""}}, "masking")
				}
				if seen[0] != seen[1] {
					t.Errorf("%s: what was received tells the two databases apart:\n%s", how, difference(seen[0], seen[1]))
				}
			}
		})
	}
}

// slowly sends messages a byte at a time.
func (a *adversary) slowly(messages []pgproto3.FrontendMessage) {
	var all []byte
	for _, m := range messages {
		out, err := m.Encode(nil)
		if err != nil {
			a.t.Fatal(err)
		}
		all = append(all, out...)
	}
	for i := range all {
		a.raw(all[i : i+1])
	}
}

// feedNothing receives n times ReadyForQuery; whatever a COPY needs has been sent.
func (a *adversary) feedNothing(n int) {
	for n > 0 && a.lost == nil {
		m, err := a.front.Receive()
		if err != nil {
			a.lost = err
			return
		}
		if _, ok := m.(*pgproto3.ReadyForQuery); ok {
			n--
		}
	}
}

// policyChanges has the policy change under a portal that has given some of its rows.
func (w *world) policyChanges(t *testing.T) {
	for name, now := range map[string]string{"to one that masks": "masking", "to one that forbids the table": "none"} {
		t.Run(name, func(t *testing.T) {
			all := policies()
			all["none"] = policy.Postgres{DefaultAction: policy.Deny}
			s := w.sides[0]
			f := w.sidecarUnder(t, all["open"])
			next := all[now]
			next.TLSMode, next.HasCredentials, next.CredentialsID = policy.TLSDisable, true, "prod/billing-db"
			d, err := postgressidecar.Destination(next)
			if err != nil {
				t.Fatal(err)
			}
			a := attack(t, f.Address(), "whoever", s.database, nil)
			a.send(query("BEGIN"), parse("", "SELECT card_number FROM customers ORDER BY id DESC"), bind("p", ""), execute("p", 1), syncing)
			a.until(2)
			if what := s.secrets.find(a.said()); what != "" && !strings.Contains(what, "none") {
				a.received.Reset() // the policy of then allowed it
			}
			f.change(d)
			a.send(execute("p", 0), syncing)
			errs := a.until(1)
			if what := s.secrets.find(a.said()); what != "" {
				t.Errorf("received: %s", what)
			}
			if now == "none" && (len(errs) != 1 || errs[0].Code != "42501") {
				t.Errorf("got %+v", errs)
			}
		})
	}
}

// recordedAtBind holds that a statement which the server computes in part as it is bound, an immutable function that is
// none and changes the database, does not run without a record.
func (w *world) recordedAtBind(t *testing.T) {
	s := w.sides[0]
	w.must(t, s.judge, `CREATE FUNCTION changing() RETURNS int LANGUAGE plpgsql VOLATILE AS 'BEGIN INSERT INTO public.scratch VALUES (5, ''bound''); RETURN 1; END';
CREATE FUNCTION harmless() RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT public.changing()';
CREATE FUNCTION constant() RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN public.changing(); END'`)
	defer w.build(t, 0)
	for _, under := range []string{"open", "masking"} {
		f := w.rules[under]
		f.log.take()
		a := attack(t, f.Address(), "whoever", s.database, nil)
		a.send(parse("", "SELECT constant()"), bind("", ""), syncing)
		if errs := a.until(1); len(errs) > 0 {
			t.Fatalf("%+v", errs[0])
		}
		if n := w.must(t, s.judge, "SELECT count(*) FROM scratch WHERE body = 'bound'"); string(n[0][0]) == "0" {
			t.Fatal("past the sidecar nothing would have run")
		}
		if commands, _ := f.log.take(); commands == 0 {
			t.Errorf("under %s the statement has run and is in no record", under)
		}
		a.conn.Close()
	}
}
