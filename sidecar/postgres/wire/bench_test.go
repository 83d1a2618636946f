package wire

import (
	"testing"

	"github.com/jackc/pgproto3/v2"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/record"
)

// BenchmarkPrepared is the core's own share of a prepared query: Bind, Execute and Sync one way, a row back.
func BenchmarkPrepared(b *testing.B) {
	for name, rules := range map[string]*Rules{
		"allowing": compiled(b, policy.Postgres{TLSMode: policy.TLSDisable, DefaultAction: policy.Allow}),
		"masking":  strict(b),
	} {
		b.Run(name, func(b *testing.B) {
			c, _ := newCore(b, rules)
			c.cfg.Record = func(record.Event) error { return nil }
			idle := &pgproto3.ReadyForQuery{TxStatus: 'I'}
			c.Agent(encode(&pgproto3.Parse{Name: "s", Query: "SELECT id, card FROM customers WHERE id = $1"}, &pgproto3.Describe{ObjectType: 'S', Name: "s"}, &pgproto3.Sync{}))
			_ = c.Server(encode(&pgproto3.ParseComplete{}, &pgproto3.ParameterDescription{ParameterOIDs: []uint32{23}},
				&pgproto3.RowDescription{Fields: []pgproto3.FieldDescription{{Name: []byte("id"), DataTypeOID: 23}, {Name: []byte("card"), DataTypeOID: 25}}}, idle))
			ask := encode(&pgproto3.Bind{PreparedStatement: "s", Parameters: [][]byte{[]byte("1")}}, &pgproto3.Execute{}, &pgproto3.Sync{})
			answer := encode(&pgproto3.BindComplete{}, &pgproto3.DataRow{Values: [][]byte{[]byte("1"), []byte("some text")}},
				&pgproto3.CommandComplete{CommandTag: []byte("SELECT 1")}, idle)
			var a, s []byte
			b.ReportAllocs()
			for b.Loop() {
				c.Agent(ask)
				_, s = c.ToServer(s)
				if err := c.Server(answer); err != nil {
					b.Fatal(err)
				}
				_, a = c.ToAgent(a)
			}
		})
	}
}

// BenchmarkRows is a 64 KiB read of rows.
func BenchmarkRows(b *testing.B) {
	for name, test := range map[string]struct {
		rules *Rules
		query string
	}{
		"unseen":   {compiled(b, policy.Postgres{TLSMode: policy.TLSDisable, DefaultAction: policy.Allow}), "SELECT id, name FROM customers"},
		"detected": {compiled(b, policy.Postgres{TLSMode: policy.TLSDisable, DefaultAction: policy.Allow, Masking: []policy.Masking{{Detectors: []string{"CreditCard", "Email"}}}}), "SELECT id, name FROM customers"},
		"masked":   {strict(b), "SELECT id, card FROM customers"},
	} {
		b.Run(name, func(b *testing.B) {
			c, _ := newCore(b, test.rules)
			c.cfg.Record = func(record.Event) error { return nil }
			c.Agent(encode(&pgproto3.Query{String: test.query}))
			_ = c.Server(encode(&pgproto3.RowDescription{Fields: []pgproto3.FieldDescription{{Name: []byte("id"), DataTypeOID: 23}, {Name: []byte("card"), DataTypeOID: 25}}}))
			c.ToAgent(nil)
			row := encode(&pgproto3.DataRow{Values: [][]byte{[]byte("12345"), []byte("a text of about forty characters, or so")}})
			var read []byte
			for len(read)+len(row) < 64<<10 {
				read = append(read, row...)
			}
			c.compiled.settings.Limits.Rows = 0
			b.SetBytes(int64(len(read)))
			b.ReportAllocs()
			var a []byte
			for b.Loop() {
				if err := c.Server(read); err != nil {
					b.Fatal(err)
				}
				_, a = c.ToAgent(a)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(read)/len(row)), "ns/row")
		})
	}
}

// BenchmarkMaskedRows is a 64 KiB read of rows, each with a protected column and a match.
func BenchmarkMaskedRows(b *testing.B) {
	c, _ := newCore(b, compiled(b, policy.Postgres{TLSMode: policy.TLSDisable, DefaultAction: policy.Allow, Masking: []policy.Masking{
		{Columns: []string{"public.customers.card"}, Method: policy.MaskPartial}, {Detectors: []string{"CreditCard", "Email"}},
	}}))
	c.cfg.Record = func(record.Event) error { return nil }
	c.Agent(encode(&pgproto3.Query{String: "SELECT 1, 'a', 'b', card, 'c' FROM customers"}))
	text := func(name string) pgproto3.FieldDescription {
		return pgproto3.FieldDescription{Name: []byte(name), DataTypeOID: 25}
	}
	_ = c.Server(encode(&pgproto3.RowDescription{Fields: []pgproto3.FieldDescription{
		{Name: []byte("id"), DataTypeOID: 23}, text("name"), text("name"), text("card"), text("name"),
	}}))
	c.ToAgent(nil)
	row := encode(&pgproto3.DataRow{Values: [][]byte{
		[]byte("123"), []byte("customer number 123"), []byte("c123@mail.example"), []byte("4111111111111111"), []byte("a note of some forty characters, or so"),
	}})
	var all []byte
	for len(all)+len(row) < 64<<10 {
		all = append(all, row...)
	}
	read := make([]byte, len(all))
	b.SetBytes(int64(len(read)))
	b.ReportAllocs()
	var a []byte
	for b.Loop() {
		copy(read, all)
		if err := c.Server(read); err != nil {
			b.Fatal(err)
		}
		_, a = c.ToAgent(a)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(read)/len(row)), "ns/row")
}
