package wire

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/jackc/pgproto3/v2"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/record"
)

// What is read at once is looked at at once, and what comes in pieces row by row: both have to come to the same.
func TestRowsAreTreatedAlikeHoweverTheyAreRead(t *testing.T) {
	values := []string{
		"plain", "4111 1111 1111 1111", "alice@mail.example", "2026-01-01 00:00:01+00", "4111111111111112", "",
		"0123456789abcdef0123456789abcdef", "4111111111111111", "4111", "1111 1111 1111", "@", string(bytes.Repeat([]byte("long "), 1500)),
	}
	for name, pg := range map[string]policy.Postgres{
		"detectors":            {Masking: []policy.Masking{{Detectors: []string{"CreditCard", "Email"}}}},
		"all detectors":        {Masking: []policy.Masking{{Detectors: []string{"CreditCard", "Email", "IBAN", "USSSN", "CloudKey", "PrivateKey"}}}},
		"nothing masked":       {},
		"a limit of rows":      {Masking: []policy.Masking{{Detectors: []string{"CreditCard"}}}, Limits: policy.Limits{Rows: 17}},
		"a limit of bytes":     {Masking: []policy.Masking{{Detectors: []string{"Email"}}}, Limits: policy.Limits{Bytes: 3000}},
		"only a limit of rows": {Limits: policy.Limits{Rows: 17}},
	} {
		pg.TLSMode, pg.DefaultAction = policy.TLSDisable, policy.Allow
		rules := compiled(t, pg)
		for _, query := range []string{"SELECT id, name FROM customers", "COPY customers (id, name) TO STDOUT"} {
			t.Run(name+", "+query[:6], func(t *testing.T) {
				random := rand.New(rand.NewPCG(3, 4))
				for range 300 {
					answer, rows := randomResult(random, query, values)
					whole, wholeEvents := answered(t, rules, query, [][]byte{bytes.Clone(answer)})
					var pieces [][]byte
					for rest := bytes.Clone(answer); len(rest) > 0; {
						n := min(len(rest), 1+random.IntN(1+random.IntN(200)))
						pieces, rest = append(pieces, rest[:n]), rest[n:]
					}
					cut, cutEvents := answered(t, rules, query, pieces)
					if !bytes.Equal(whole, cut) {
						t.Fatalf("%d rows at once became\n%q,\nin pieces\n%q", rows, whole, cut)
					}
					if wholeEvents != cutEvents {
						t.Fatalf("%d rows at once are recorded as\n%s,\nin pieces as\n%s", rows, wholeEvents, cutEvents)
					}
					if slices.Contains([]string{"detectors", "all detectors"}, name) {
						for _, secret := range []string{"4111 1111 1111 1111", "4111111111111111", "alice"} {
							if bytes.Contains(whole, []byte(secret)) {
								t.Fatalf("%q shows in %q", secret, whole)
							}
						}
					}
				}
			})
		}
	}
}

// randomResult is what a server answers to the query.
func randomResult(random *rand.Rand, query string, values []string) (answer []byte, rows int) {
	rows = random.IntN(40)
	copying := query[0] == 'C'
	if copying {
		answer = encode(&pgproto3.CopyOutResponse{ColumnFormatCodes: []uint16{0, 0}})
	} else {
		answer = encode(&pgproto3.RowDescription{Fields: []pgproto3.FieldDescription{{Name: []byte("id"), DataTypeOID: 23}, {Name: []byte("name"), DataTypeOID: 25}}})
	}
	likely := random.IntN(len(values))
	for i := range rows {
		id, name := fmt.Sprint(i), values[random.IntN(len(values))]
		if random.IntN(3) > 0 {
			name = values[likely]
		}
		if copying {
			answer = append(answer, encode(&pgproto3.CopyData{Data: []byte(id + "\t" + name + "\n")})...)
		} else {
			answer = append(answer, encode(&pgproto3.DataRow{Values: [][]byte{[]byte(id), []byte(name)}})...)
		}
	}
	if copying {
		answer = append(answer, encode(&pgproto3.CopyDone{})...)
	}
	return append(answer, encode(&pgproto3.CommandComplete{CommandTag: []byte("DONE")}, &pgproto3.ReadyForQuery{TxStatus: 'I'})...), rows
}

// answered runs a query, whose answer comes in these pieces, and returns what the agent gets and what is recorded.
func answered(t *testing.T, rules *Rules, query string, pieces [][]byte) (toAgent []byte, events string) {
	t.Helper()
	c, _ := newCore(t, rules)
	c.cfg.Record = func(e record.Event) error {
		events += fmt.Sprintf("%+v\n", e)
		return nil
	}
	c.Agent(encode(&pgproto3.Query{String: query}))
	if _, s := c.Pending(); !s {
		t.Fatalf("%s was not sent", query)
	}
	for _, p := range pieces {
		if err := c.Server(p); err != nil {
			t.Fatal(err)
		}
		out, _ := c.ToAgent(nil)
		toAgent = append(toAgent, out...)
	}
	return toAgent, events
}
