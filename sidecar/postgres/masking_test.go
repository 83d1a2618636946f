package postgres

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/record"
)

const secretCard = "4111 1111 1111 1111"

// masked protects card numbers by name, and finds those elsewhere.
func masked(method policy.Method) policy.Postgres {
	pg := allowAll()
	pg.Masking = []policy.Masking{
		{Columns: []string{"public.customers.card_number"}, Method: method},
		{Columns: []string{"public.customers.balance", "public.customers.born"}},
		{Detectors: []string{"CreditCard", "Email"}},
	}
	return pg
}

func TestMaskedRows(t *testing.T) {
	s := newSidecar(t, masked(policy.MaskPartial))
	conn := s.connect(t, "")
	tests := map[string]struct {
		sql  string
		want string // rows joined by ";", values by ","
	}{
		"a named column":                    {"SELECT card_number FROM customers WHERE id = 1", "**** **** **** 1111"},
		"NULL stays NULL":                   {"SELECT card_number FROM customers WHERE id = 3", "NULL"},
		"a column beside it is clear":       {"SELECT name, card_number FROM customers WHERE id = 1", "Ada,**** **** **** 1111"},
		"renamed":                           {"SELECT card_number AS harmless FROM customers c WHERE id = 1", "**** **** **** 1111"},
		"through a subquery":                {"SELECT x FROM (SELECT card_number AS x FROM customers WHERE id = 1) s", "**** **** **** 1111"},
		"through a common table expression": {"WITH w AS (SELECT card_number AS x FROM customers WHERE id = 1) SELECT x FROM w", "**** **** **** 1111"},
		"through a view":                    {"SELECT what FROM customer_cards WHERE who = 1", "**** **** **** 1111"},
		"a view's clear column":             {"SELECT name FROM customer_names WHERE id = 1", "Ada"},
		"a star":                            {"SELECT * FROM customer_cards WHERE who = 1", "1,**** **** **** 1111"},
		"a detector in free text":           {"SELECT body FROM notes WHERE id = 1", "paid with **** **** **** **** today"},
		"a detector in json":                {"SELECT note FROM customers WHERE id = 1", `{"card": "**** **** **** ****"}`},
		"a detector in a constant":          {"SELECT 'call 4111111111111111'", "call ****************"},
		"an address":                        {"SELECT email FROM customers WHERE id = 1", "***@*******.***"},
		"a number keeps its type":           {"SELECT balance FROM customers WHERE id = 1", "0"},
		"a date keeps its type":             {"SELECT born FROM customers WHERE id = 1", "2000-01-01"},
		"a clear number is not a card":      {"SELECT 4111111111111111::numeric", "4111111111111111"},
		"a card in a bigint":                {"SELECT 4111111111111111::bigint", "0000000000000000"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var lines []string
			for _, r := range rows(t, conn, test.sql) {
				lines = append(lines, strings.Join(r, ","))
			}
			if got := strings.Join(lines, ";"); got != test.want {
				t.Fatalf("got %q, want %q", got, test.want)
			}
		})
	}
	// What must not show, however it is computed. Refusing is as good as masking.
	leaks := []string{
		"SELECT upper(card_number) FROM customers", "SELECT reverse(card_number) FROM customers",
		"SELECT substr(card_number, 1, 10) FROM customers", "SELECT card_of(1)", "SELECT card_number::bytea FROM customers",
		"SELECT customers FROM customers", "SELECT row_to_json(c) FROM customers c", "SELECT string_agg(card_number, ',') FROM customers",
		"SELECT array_agg(card_number) FROM customers", "SELECT card_number || '' FROM customers", "SELECT id FROM customers UNION SELECT ascii(card_number) FROM customers",
		"SELECT NULL UNION ALL SELECT card_number FROM customers", "SELECT (SELECT card_number FROM customers WHERE id = 1)",
		"SELECT CASE WHEN true THEN card_number END FROM customers", "SELECT coalesce(card_number, 'x') FROM customers",
		"VALUES ((SELECT card_number FROM customers WHERE id = 1))", "UPDATE customers SET name = name RETURNING card_number",
		"TABLE customer_cards", "SELECT * FROM customers c, LATERAL (SELECT c.card_number) x", "SELECT md5(card_number) FROM customers",
		"COPY customers TO STDOUT", "COPY (SELECT card_number FROM customers) TO STDOUT (FORMAT csv)", "COPY customer_cards TO STDOUT",
		"SELECT length(card_number) FROM customers WHERE card_number LIKE '4%'", "SELECT card_number::int FROM customers",
		"BEGIN; DECLARE k CURSOR FOR SELECT card_number FROM customers; FETCH ALL FROM k; COMMIT",
		"PREPARE k2 AS SELECT card_number FROM customers; EXECUTE k2",
		"CREATE VIEW leak AS SELECT card_number AS c FROM customers; SELECT c FROM leak",
		"CREATE TEMP TABLE leak AS SELECT card_number AS c FROM customers; SELECT c FROM leak",
		"DO $$ BEGIN RAISE NOTICE '%', (SELECT card_number FROM customers WHERE id = 1); END $$",
		"DO $$ BEGIN RAISE EXCEPTION '%', (SELECT card_number FROM customers WHERE id = 1); END $$",
		"SELECT 1/(card_number = '4111 1111 1111 1111')::int FROM customers", "EXPLAIN ANALYZE SELECT card_number FROM customers",
		"INSERT INTO customers SELECT 1, 'x', NULL, card_number FROM customers WHERE id = 1",
	}
	for _, sql := range leaks {
		t.Run("no leak by "+sql, func(t *testing.T) {
			past := talk(t, s.connect(t, ""))
			past.send(q(sql))
			seen := everything(past)
			for _, secret := range []string{secretCard, "4111", "1111 1111 1111 1", "5500-0000", "\\x34313131", "c8ab4a4b"} {
				if strings.Contains(seen, secret) {
					t.Fatalf("%q shows in %s", secret, seen)
				}
			}
		})
	}
	t.Run("what was masked is counted", func(t *testing.T) {
		if got := s.log.Find(record.KindResult, func(e record.Event) bool { return e.Masked > 0 }); len(got) == 0 {
			t.Fatal("nothing")
		}
	})
}

// everything is all that the server says up to ReadyForQuery, unshortened.
func everything(k *talker) string {
	var b strings.Builder
	k.conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	for {
		m, err := k.front.Receive()
		if err != nil {
			return b.String() + err.Error()
		}
		switch m := m.(type) {
		case *pgproto3.ErrorResponse:
			b.WriteString(strings.Join([]string{m.Code, m.Message, m.Detail, m.Hint, m.Where, m.InternalQuery}, "|"))
		case *pgproto3.NoticeResponse:
			b.WriteString(strings.Join([]string{m.Message, m.Detail, m.Hint, m.Where, m.InternalQuery}, "|"))
		case *pgproto3.ReadyForQuery:
			return b.String()
		default:
			b.WriteString(short(m))
		}
		b.WriteByte('\n')
	}
}

func TestMaskedFormatsAndPortals(t *testing.T) {
	s := newSidecar(t, masked(policy.MaskRedact))
	k := talk(t, s.connect(t, ""))
	binaryBind := func(portal, name string) pgproto3.FrontendMessage {
		return &pgproto3.Bind{DestinationPortal: portal, PreparedStatement: name, ResultFormatCodes: []int16{1}}
	}
	sql := "SELECT id, card_number, balance, born, note FROM customers WHERE id = 1"
	receive := func() []*pgproto3.DataRow {
		var out []*pgproto3.DataRow
		k.conn.SetReadDeadline(time.Now().Add(10 * time.Second))
		for {
			m, err := k.front.Receive()
			if err != nil {
				t.Fatal(err)
			}
			switch m := m.(type) {
			case *pgproto3.DataRow:
				row := &pgproto3.DataRow{}
				for _, v := range m.Values {
					row.Values = append(row.Values, append([]byte(nil), v...))
				}
				out = append(out, row)
			case *pgproto3.ErrorResponse:
				t.Fatalf("%s %s", m.Code, m.Message)
			case *pgproto3.ReadyForQuery:
				return out
			}
		}
	}
	check := func(t *testing.T, got []*pgproto3.DataRow) {
		t.Helper()
		if len(got) != 1 {
			t.Fatalf("%d rows", len(got))
		}
		v := got[0].Values
		if binary.BigEndian.Uint32(v[0]) != 1 || string(v[1]) != "********" || len(v[3]) != 4 || int32(binary.BigEndian.Uint32(v[3])) != 0 {
			t.Fatalf("got %q", v)
		}
		if len(v[2]) < 8 || binary.BigEndian.Uint16(v[2]) != 0 { // numeric: no digits
			t.Fatalf("balance %x", v[2])
		}
		if v[4][0] != 1 || !strings.Contains(string(v[4]), `{"card": "**** **** **** ****"}`) {
			t.Fatalf("note %q", v[4])
		}
	}
	t.Run("binary results with a description", func(t *testing.T) {
		k.send(parse("", sql), binaryBind("", ""), describe('P', ""), execute("", 0), syncing)
		check(t, receive())
	})
	t.Run("binary results without any description", func(t *testing.T) {
		k.send(parse("", sql), binaryBind("", ""), execute("", 0), syncing)
		check(t, receive())
	})
	t.Run("a statement described once, run again and again", func(t *testing.T) {
		k.send(parse("again", sql), describe('S', "again"), syncing)
		receive()
		for range 3 {
			k.send(binaryBind("", "again"), execute("", 0), syncing)
			check(t, receive())
		}
	})
	t.Run("a portal read in parts", func(t *testing.T) {
		k.send(parse("", "SELECT card_number FROM customers WHERE card_number IS NOT NULL"), binaryBind("part", ""), execute("part", 1), execute("part", 1), syncing)
		got := receive()
		if len(got) != 2 || string(got[0].Values[0]) != "********" || string(got[1].Values[0]) != "********" {
			t.Fatalf("got %v", got)
		}
	})
	t.Run("a cursor run by the protocol", func(t *testing.T) {
		k.send(q("BEGIN"), q("DECLARE cards CURSOR FOR SELECT card_number FROM customers ORDER BY id"))
		receive()
		receive()
		k.send(execute("cards", 1), syncing)
		if got := receive(); len(got) != 1 || string(got[0].Values[0]) != "********" {
			t.Fatalf("got %v", got)
		}
		k.send(q("FETCH cards; COMMIT"))
		if got := receive(); len(got) != 1 || string(got[0].Values[0]) != "********" {
			t.Fatalf("got %v", got)
		}
	})
}

func TestCursorsOfFunctions(t *testing.T) {
	opens := []string{"BEGIN", "SELECT opens()"}
	t.Run("nothing of what they return is proved clear", func(t *testing.T) {
		conn := newSidecar(t, masked(policy.MaskRedact)).connect(t, "")
		for _, sql := range opens {
			rows(t, conn, sql)
		}
		got := fmt.Sprint(rows(t, conn, "FETCH rc"))
		if strings.Contains(got, "Ada") || strings.Contains(got, "4111") {
			t.Fatalf("got %s", got)
		}
		result := conn.ExecParams(context.Background(), "FETCH ABSOLUTE 1 FROM rc", nil, nil, nil, nil).Read()
		if result.Err != nil || len(result.Rows) != 1 || strings.Contains(string(result.Rows[0][1]), "4111") {
			t.Fatalf("got %q, %v", result.Rows, result.Err)
		}
	})
	t.Run("a rule that names tables does not cover them", func(t *testing.T) {
		pg := allowAll()
		pg.DefaultAction = policy.Deny
		pg.Rules = []policy.Rule{
			{Name: "reads", Match: policy.Match{Commands: []string{"SELECT"}, Tables: []string{"public.*"}}, Action: policy.Allow},
		}
		s := newSidecar(t, pg)
		conn := s.connect(t, "")
		rows(t, conn, "BEGIN")
		for _, sql := range opens[1:] {
			if _, err := query(conn, sql); err != nil {
				t.Fatal(sql, err)
			}
		}
		_, err := query(conn, "FETCH rc")
		wantError(t, err, "42501", "SELECT")
		result := conn.ExecParams(context.Background(), "FETCH rc", nil, nil, nil, nil).Read()
		wantError(t, result.Err, "42501")
	})
}

func TestMaskingMethods(t *testing.T) {
	t.Run("Hash keeps equal values equal", func(t *testing.T) {
		s := newSidecar(t, masked(policy.MaskHash))
		conn := s.connect(t, "")
		a := rows(t, conn, "SELECT card_number FROM customers WHERE id = 1")[0][0]
		b := rows(t, s.connect(t, ""), "SELECT what FROM customer_cards WHERE who = 1")[0][0]
		if a != b || len(a) != 16 || strings.Contains(a, "4111") {
			t.Fatalf("got %q and %q", a, b)
		}
	})
	t.Run("Null", func(t *testing.T) {
		s := newSidecar(t, masked(policy.MaskNull))
		if got := rows(t, s.connect(t, ""), "SELECT card_number FROM customers WHERE id = 1"); got[0][0] != "NULL" {
			t.Fatalf("got %v", got)
		}
	})
}

func TestMaskedCopy(t *testing.T) {
	s := newSidecar(t, masked(policy.MaskPartial))
	tests := map[string]struct{ sql, want string }{
		"text":          {"COPY (SELECT id, card_number, name FROM customers ORDER BY id) TO STDOUT", "H d(1\t**** **** **** 1111\tAda) d(2\t****-****-****-0004\tBlaise) d(3\t\\N\tCarl) c C(COPY 3) Z(I)"},
		"text, a table": {"COPY customers (id, card_number) TO STDOUT", "H d(1\t**** **** **** 1111) d(2\t****-****-****-0004) d(3\t\\N) c C(COPY 3) Z(I)"},
		"text, a delimiter that stars need escaped": {"COPY (SELECT card_number, id FROM customers WHERE id = 1) TO STDOUT (DELIMITER '*')", `H d(\*\*\*\* \*\*\*\* \*\*\*\* 1111*1) c C(COPY 1) Z(I)`},
		"csv":                            {"COPY (SELECT id, card_number, name FROM customers ORDER BY id) TO STDOUT (FORMAT csv, HEADER)", "H d(id,card_number,name) d(1,\"**** **** **** 1111\",Ada) d(2,\"****-****-****-0004\",Blaise) d(3,,Carl) c C(COPY 3) Z(I)"},
		"csv, everything quoted":         {"COPY (SELECT id, card_number FROM customers WHERE id = 1) TO STDOUT (FORMAT csv, FORCE_QUOTE *, QUOTE '''')", "H d('1','**** **** **** 1111') c C(COPY 1) Z(I)"},
		"detectors":                      {"COPY (SELECT * FROM notes ORDER BY id) TO STDOUT", "H d(1\tpaid with **** **** **** **** today) d(2\tnothing here) c C(COPY 2) Z(I)"},
		"a delimiter that joins numbers": {"COPY (SELECT 55555, '4111111111111111') TO STDOUT (FORMAT csv, DELIMITER '.')", "H d(55555.****************) c C(COPY 1) Z(I)"},
		"a delimiter that is a digit":    {"COPY (SELECT 'a', '4111111111111111', 'b') TO STDOUT (FORMAT csv, DELIMITER '5')", "H d(a5****************5b) c C(COPY 1) Z(I)"},
		"a quote that is a digit":        {"COPY (SELECT '4111111111111111') TO STDOUT (FORMAT csv, QUOTE '1')", "H d(1****************1) c C(COPY 1) Z(I)"},
		"an escape that is a digit":      {"COPY (SELECT '4111111111111111') TO STDOUT (FORMAT csv, ESCAPE '1', FORCE_QUOTE *)", "H d(\"****************\") c C(COPY 1) Z(I)"},
		"a separator that is escaped":    {"COPY (SELECT '4111 1111 1111 1111') TO STDOUT (DELIMITER ' ')", `H d(****\ ****\ ****\ ****) c C(COPY 1) Z(I)`},
		"a dash that is escaped":         {"COPY (SELECT '4111-1111-1111-1111') TO STDOUT (DELIMITER '-')", `H d(****\-****\-****\-****) c C(COPY 1) Z(I)`},
		"a backslash in csv":             {"COPY (SELECT E'a\\\\4111111111111111') TO STDOUT (FORMAT csv)", `H d(a\****************) c C(COPY 1) Z(I)`},
		"embedded newlines":              {"COPY (SELECT E'a\\nb,\"4111111111111111\"', 1) TO STDOUT (FORMAT csv)", "H d(\"a\nb,\"\"****************\"\"\",1) c C(COPY 1) Z(I)"},
		"several in one string":          {"COPY (SELECT card_number FROM customers WHERE id = 1) TO STDOUT; COPY (SELECT id FROM customers WHERE id = 2) TO STDOUT", "H d(**** **** **** 1111) c C(COPY 1) H d(2) c C(COPY 1) Z(I)"},
	}
	k := talk(t, s.connect(t, ""))
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			k.send(q(test.sql))
			if got := k.until("Z", 1); got != test.want {
				t.Fatalf("got  %s\nwant %s", got, test.want)
			}
		})
	}
	t.Run("binary: what must be masked is NULL", func(t *testing.T) {
		k.send(q("COPY (SELECT id, card_number, name FROM customers WHERE id = 1) TO STDOUT (FORMAT binary)"))
		got := k.until("Z", 1)
		if !strings.Contains(got, "\x00\x03\x00\x00\x00\x04\x00\x00\x00\x01\xff\xff\xff\xff\x00\x00\x00\x03Ada") || !strings.Contains(got, "C(COPY 1)") {
			t.Fatalf("got %v", got)
		}
	})
	t.Run("the extended protocol", func(t *testing.T) {
		k.send(parse("", "COPY (SELECT card_number FROM customers WHERE id = 1) TO STDOUT"), bind("", ""), execute("", 0), syncing)
		if got := k.until("Z", 1); got != "1 2 H d(**** **** **** 1111) c C(COPY 1) Z(I)" {
			t.Fatal(got)
		}
	})
}

// hides fails unless err is the server's and says nothing of a customer.
func hides(t *testing.T, err error) {
	t.Helper()
	var e *pgconn.PgError
	if !errors.As(err, &e) {
		t.Fatalf("got %v", err)
	}
	all := strings.ToLower(fmt.Sprint(*e))
	for _, secret := range []string{"4111", "5500", "ada", "grace"} {
		if strings.Contains(all, secret) {
			t.Errorf("said %q", all)
		}
	}
	if e.Message != "(withheld: the statement touches protected columns)" {
		t.Errorf("not withheld: %s %q", e.Code, e.Message)
	}
}

func TestMaskedTexts(t *testing.T) {
	s := newSidecar(t, masked(policy.MaskRedact))
	var notices []*pgconn.Notice
	var heard []*pgconn.Notification
	conn, err := s.tryConnect("", func(c *pgconn.Config) {
		c.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) { notices = append(notices, n) }
		c.OnNotification = func(_ *pgconn.PgConn, n *pgconn.Notification) { heard = append(heard, n) }
	})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	t.Run("a constraint's detail is withheld", func(t *testing.T) {
		_, err := query(conn, "INSERT INTO customers VALUES (1, 'again')")
		e := wantError(t, err, "23505", "customers_pkey")
		if !strings.Contains(e.Detail, "withheld") {
			t.Fatalf("detail %q", e.Detail)
		}
	})
	t.Run("a message that quotes values is withheld, its SQLSTATE stays", func(t *testing.T) {
		_, err := query(conn, "SELECT name::int FROM customers")
		if e := wantError(t, err, "22P02"); strings.Contains(e.Message, "Ada") {
			t.Fatal(e.Message)
		}
	})
	for name, sql := range map[string]string{
		"a name read from a value":                   "SELECT ('x' || replace(name, ' ', ''))::regclass FROM customers WHERE card_number <> ''",
		"a schema's name":                            "SELECT ('x' || name)::regnamespace FROM customers",
		"a function's name":                          "SELECT ('x' || name || '()')::regprocedure FROM customers",
		"a type's syntax":                            "SELECT ('int ' || name)::regtype FROM customers",
		"a value that came through a view":           "SELECT what::int FROM customer_cards",
		"a view's value in a predicate":              "SELECT who FROM customer_cards WHERE what::int > 0",
		"a view's value in a COPY":                   "COPY (SELECT what::int FROM customer_cards) TO STDOUT",
		"a function's value":                         "SELECT card_of(1)::int",
		"a function's value in a COPY's WHERE":       "COPY orders FROM STDIN WHERE card_of(1)::int > 0",
		"a SQL PREPARE of one":                       "PREPARE quoting AS SELECT what::int FROM customer_cards; EXECUTE quoting",
		"an error that a function raises of its own": "SELECT complain(1)",
	} {
		t.Run("an error does not quote "+name, func(t *testing.T) {
			if strings.Contains(sql, "FROM STDIN") {
				_, err := conn.CopyFrom(context.Background(), strings.NewReader("1\tx\n"), sql)
				hides(t, err)
				return
			}
			_, err := query(conn, sql)
			hides(t, err)
		})
	}
	t.Run("nor does one as a statement is bound, when what is constant in it is computed", func(t *testing.T) {
		hides(t, conn.ExecParams(context.Background(), "SELECT constant_card()::int", nil, nil, nil, nil).Read().Err)
	})
	t.Run("names and syntax of the statement's own are told", func(t *testing.T) {
		_, err := query(conn, "SELECT card_nmuber FROM customers")
		wantError(t, err, "42703", "card_nmuber")
		_, err = query(conn, "CREATE TABLE customers (id int)")
		wantError(t, err, "42P07", "customers")
	})
	t.Run("what a deferred constraint quotes at the end is withheld", func(t *testing.T) {
		rows(t, conn, "CREATE TEMP TABLE late (n int UNIQUE DEFERRABLE INITIALLY DEFERRED)")
		rows(t, conn, "BEGIN; SELECT name FROM customers; INSERT INTO late VALUES (7), (7)")
		_, err := query(conn, "COMMIT")
		if e := wantError(t, err, "23505"); !strings.Contains(e.Detail, "withheld") {
			t.Fatalf("detail %q", e.Detail)
		}
		rows(t, conn, "BEGIN; INSERT INTO late VALUES (7), (7)")
		_, err = query(conn, "COMMIT")
		if e := wantError(t, err, "23505"); !strings.Contains(e.Detail, "(n)=(7)") {
			t.Fatalf("detail %q", e.Detail)
		}
	})
	t.Run("errors elsewhere keep their words", func(t *testing.T) {
		_, err := query(conn, "SELECT 'x'::int")
		wantError(t, err, "22P02", `invalid input syntax for type integer: "x"`)
	})
	t.Run("detectors look at errors and notices", func(t *testing.T) {
		_, err := query(conn, "SELECT 'card 4111111111111111'::int")
		wantError(t, err, "22P02", `"card ****************"`)
		rows(t, conn, "SELECT shout('seen 4111 1111 1111 1111')")
		if n := notices[len(notices)-1]; strings.Contains(n.Message, "4111") {
			t.Fatalf("notice %q", n.Message)
		}
	})
	t.Run("and at notifications", func(t *testing.T) {
		rows(t, conn, "LISTEN cards")
		direct(t, "SELECT pg_notify('cards', 'new 4111 1111 1111 1111')")
		rows(t, conn, "SELECT 1")
		if len(heard) != 1 || heard[0].Payload != "new **** **** **** ****" {
			t.Fatalf("heard %+v", heard)
		}
	})
	t.Run("and at the status of parameters", func(t *testing.T) {
		rows(t, conn, "SET application_name = 'paid with 4111 1111 1111 1111'")
		if got := conn.ParameterStatus("application_name"); got != "paid with **** **** **** ****" {
			t.Fatalf("the client was told %q", got)
		}
		rows(t, conn, "RESET application_name")
	})
	t.Run("and at the status of parameters as a session begins", func(t *testing.T) {
		direct(t, "ALTER ROLE agent SET application_name = 'paid with 4111 1111 1111 1111'")
		defer direct(t, "ALTER ROLE agent RESET application_name")
		if got := s.connect(t, "").ParameterStatus("application_name"); got != "paid with **** **** **** ****" {
			t.Fatalf("the client was told %q", got)
		}
	})
	t.Run("and at what is recorded", func(t *testing.T) {
		rows(t, conn, "SELECT '4111 1111 1111 1111'")
		for _, e := range s.log.Find(record.KindCommand, nil) {
			if strings.Contains(e.Text, "4111 1111") {
				t.Fatalf("recorded %q", e.Text)
			}
		}
	})
}

// TestMaskedParameters has no detector: what a parameter was set to while a statement touched protected columns is
// withheld, whatever it looks like.
func TestMaskedParameters(t *testing.T) {
	pg := allowAll()
	pg.Masking = []policy.Masking{{Columns: []string{"public.customers.name"}}}
	s := newSidecar(t, pg)
	for name, run := range map[string]func(conn *pgconn.PgConn) error{
		"a simple query":   func(conn *pgconn.PgConn) error { _, err := query(conn, "SELECT tells_name()"); return err },
		"a query's values": func(conn *pgconn.PgConn) error { return extended(conn, "SELECT tells_name()") },
		"a transaction": func(conn *pgconn.PgConn) error {
			_, err := query(conn, "BEGIN; SELECT tells_name(); COMMIT")
			return err
		},
	} {
		t.Run("set by a function in "+name, func(t *testing.T) {
			conn := s.connect(t, "")
			if err := run(conn); err != nil {
				t.Fatal(err)
			}
			if got := conn.ParameterStatus("application_name"); got != "********" {
				t.Fatalf("the client was told %q", got)
			}
		})
	}
	t.Run("from the column itself: refused", func(t *testing.T) {
		conn := s.connect(t, "")
		_, err := query(conn, "SELECT set_config('application_name', name, false) FROM customers WHERE id = 1")
		wantError(t, err, "42501")
		if got := conn.ParameterStatus("application_name"); got != "" {
			t.Fatalf("the client was told %q", got)
		}
	})
	t.Run("what a client sets itself is told, and so is what it needs to read values", func(t *testing.T) {
		conn := s.connect(t, "")
		rows(t, conn, "SET application_name = 'Ada'")
		if got := conn.ParameterStatus("application_name"); got != "Ada" {
			t.Fatalf("the client was told %q", got)
		}
		rows(t, conn, "BEGIN; SELECT card_of(1); SET DateStyle = 'SQL, DMY'; COMMIT")
		if got := conn.ParameterStatus("DateStyle"); got != "SQL, DMY" {
			t.Fatalf("the client was told %q", got)
		}
	})
}

func extended(conn *pgconn.PgConn, sql string) error {
	return conn.ExecParams(context.Background(), sql, nil, nil, nil, nil).Read().Err
}

func TestCatalogueChanges(t *testing.T) {
	t.Run("what one session changes, no session takes for clear until it is read again", func(t *testing.T) {
		s := newSidecar(t, masked(policy.MaskRedact))
		reader, changer := s.connect(t, ""), s.connect(t, "")
		k := talk(t, s.connect(t, ""))
		want := func(value string) {
			t.Helper()
			if got := rows(t, reader, "SELECT c FROM shifting"); got[0][0] != value {
				t.Fatalf("got %v, want %s", got, value)
			}
			k.send(bind("", "s"), execute("", 0), syncing)
			if got := k.until("Z", 1); got != "2 D("+value+") C(SELECT 1) Z(I)" {
				t.Fatalf("got %s, want %s", got, value)
			}
		}
		k.send(parse("s", "SELECT c FROM shifting"), describe('S', "s"), syncing)
		k.until("Z", 1)
		want("Ada")
		rows(t, changer, "BEGIN; CREATE TABLE unrelated (n int)")
		want("********")
		rows(t, changer, "COMMIT")
		want("Ada")
		rows(t, changer, "DROP TABLE unrelated")
		want("Ada")
	})
	t.Run("what changes past the sidecar is seen when the catalogue's age is up", func(t *testing.T) {
		s := newSidecar(t, masked(policy.MaskRedact))
		s.set(func() { s.opts.CatalogueAge = 20 * time.Millisecond })
		conn := s.connect(t, "")
		if got := rows(t, conn, "SELECT c FROM shifting"); got[0][0] != "Ada" {
			t.Fatalf("got %v", got)
		}
		direct(t, "CREATE OR REPLACE VIEW shifting AS SELECT card_number AS c FROM customers WHERE id = 1")
		defer direct(t, "CREATE OR REPLACE VIEW shifting AS SELECT name AS c FROM customers WHERE id = 1")
		time.Sleep(30 * time.Millisecond)
		if got := rows(t, conn, "SELECT c FROM shifting"); got[0][0] != "********" {
			t.Fatalf("got %v", got)
		}
	})
	t.Run("a table that is new is known at once", func(t *testing.T) {
		s := newSidecar(t, masked(policy.MaskRedact))
		conn := s.connect(t, "")
		rows(t, conn, "CREATE TEMP TABLE fresh AS SELECT 1 AS n, 'text'::text AS s")
		if got := rows(t, conn, "SELECT n, s FROM fresh"); got[0][0] != "1" || got[0][1] != "text" {
			t.Fatalf("got %v", got)
		}
	})
}
