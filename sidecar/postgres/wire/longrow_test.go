package wire

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/jackc/pgproto3/v2"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
)

// pieces gives p to the core in pieces of n bytes, and returns what the agent gets.
func pieces(c *Core, p []byte, n uint8) (out []byte) {
	for len(p) > 0 {
		k := min(int(n)+1, len(p))
		_ = c.Server(p[:k:k])
		got, _ := c.ToAgent(nil)
		out = append(out, got...)
		p = p[k:]
	}
	return out
}

// bodies returns the bodies of the messages of a kind; ok tells whether all messages are whole.
func bodies(p []byte, kind byte) (found [][]byte, ok bool) {
	for len(p) > 0 {
		if len(p) < header {
			return found, false
		}
		n := 1 + int(binary.BigEndian.Uint32(p[1:]))
		if n < header || n > len(p) {
			return found, false
		}
		if p[0] == kind {
			found = append(found, p[header:n])
		}
		p = p[n:]
	}
	return found, true
}

// FuzzLongRow streams rows of any shape whose columns are protected, and then one that is as it should be: a short
// protected value before one for the detectors.
func FuzzLongRow(f *testing.F) {
	f.Add([]byte("\x00\x02\x00\x00\x00\x06SECRET\x00\x00\x00\x06SECRET"), uint8(3))
	f.Add([]byte("\x00\x02\xff\xff\xff\xff\x00\x00\x00\x0cSECRETSECRET"), uint8(200))
	f.Add([]byte("\x00\x03\x00\x00\x00\x06SECRET\x00\x00\x00\x06SECRET\x00\x00\x00\x00"), uint8(0))
	f.Add([]byte("paid with 4111 1111 1111 1111, says a@mail.example"), uint8(6))
	rules := strict(f)
	f.Fuzz(func(t *testing.T, body []byte, n uint8) {
		if len(body) > 1<<16 {
			return
		}
		begin := func(second pgproto3.FieldDescription) *Core {
			c, _ := newCore(t, rules)
			c.Agent(encode(&pgproto3.Query{String: "SELECT card, id FROM customers"}))
			_ = c.Server(encode(&pgproto3.RowDescription{Fields: []pgproto3.FieldDescription{{Name: []byte("a"), DataTypeOID: 25}, second}}))
			c.ToAgent(nil)
			c.bounds = rowBounds{held: 0, value: 8, open: 16}
			return c
		}
		frame := append([]byte{'D', 0, 0, 0, 0}, body...)
		binary.BigEndian.PutUint32(frame[1:], uint32(len(frame)-1))
		c := begin(pgproto3.FieldDescription{Name: []byte("b"), TableOID: 100, TableAttributeNumber: 2, DataTypeOID: 25})
		out := pieces(c, frame, n)
		if bytes.Contains(out, []byte("SECRET")) {
			t.Fatalf("%q shows in %q", body, out)
		}
		// That a row's lengths do not add up may show when its beginning is gone: then the session ends.
		if _, whole := bodies(out, 'D'); !whole && c.Err() == nil {
			t.Fatalf("%q is no whole messages", out)
		}

		good := encode(&pgproto3.DataRow{Values: [][]byte{[]byte("SECRET"), body}})
		c = begin(pgproto3.FieldDescription{Name: []byte("id"), DataTypeOID: 25})
		out = pieces(c, good, n)
		rows, whole := bodies(out, 'D')
		if !whole || len(rows) != 1 || bytes.Contains(rows[0][:min(len(rows[0]), 20)], []byte("SECRET")) {
			t.Fatalf("%q is not a masked row", out)
		}
		var m pgproto3.DataRow
		if err := m.Decode(rows[0]); err != nil || len(m.Values) != 2 || len(m.Values[1]) != len(body) {
			t.Fatalf("%q is not a row of two values, the second of %d bytes (%v)", rows[0], len(body), err)
		}
		if !rules.detectors.May(body) && !bytes.Equal(m.Values[1], body) {
			t.Fatalf("%q became %q", body, m.Values[1])
		}
	})
}

// FuzzLongLine streams a row of a COPY and reads what came through: as it was, but for what detectors may find.
func FuzzLongLine(f *testing.F) {
	f.Add([]byte("a\tb\\ \n4111111111111111"), []byte("N"), uint8(2))
	f.Add([]byte("\\N"), []byte("a@mail.example"), uint8(0))
	f.Fuzz(func(t *testing.T, a, b []byte, n uint8) {
		if len(a)+len(b) > 1<<16 {
			return
		}
		rules := compiled(t, policy.Postgres{DefaultAction: policy.Allow, Masking: []policy.Masking{{Detectors: []string{"CreditCard", "Email"}}}})
		c, _ := newCore(t, rules)
		c.bounds.held = 0
		c.queue.push(owed{kind: answerQuery, judged: &judged{rules: rules}})
		c.copyOut = &copyOut{columns: make([]column, 2), detect: true, format: copyFormat{kind: 't', delimiter: '\t', null: `\N`}}
		line := append(append(append(textValue(a), '\t'), textValue(b)...), '\n')
		in := append([]byte{'d', 0, 0, 0, 0}, line...)
		binary.BigEndian.PutUint32(in[1:], uint32(len(in)-1))
		lines, whole := bodies(pieces(c, in, n), 'd')
		got := readText(bytes.Join(lines, nil))
		if !whole || len(got) != 2 || len(got[0]) != len(a) || len(got[1]) != len(b) {
			t.Fatalf("%q became %q", in, lines)
		}
		for i, value := range [][]byte{a, b} {
			if !rules.detectors.May(value) && !bytes.Equal(got[i], value) {
				t.Fatalf("%q became %q", value, got[i])
			}
		}
	})
}
