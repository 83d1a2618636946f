package wire

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/jackc/pgproto3/v2"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/postgres/sql"
	"github.com/chaperone-dev/chaperone/sidecar/session"
)

func FuzzStartup(f *testing.F) {
	f.Add([]byte{0, 0, 0, 8, 4, 210, 22, 47})
	f.Add([]byte("\x00\x00\x00\x17\x00\x03\x00\x00user\x00x\x00options\x00-c geqo=off\x00\x00"))
	f.Add([]byte("\x00\x00\x00\x10\x04\xd2\x16\x2e\x00\x00\x00\x01\x00\x00\x00\x02"))
	f.Fuzz(func(t *testing.T, p []byte) {
		s, n, err := ParseStartup(p)
		if err != nil || n == 0 {
			return
		}
		if n > len(p) || n > MaxStartup || s == nil {
			t.Fatalf("took %d of %d bytes", n, len(p))
		}
		if settings, err := s.Settings(1000); err == nil {
			for name := range settings {
				if !allowed[name] && name != "statement_timeout" && name != "client_encoding" && name != "standard_conforming_strings" {
					t.Fatalf("%s was let through", name)
				}
			}
			if settings["standard_conforming_strings"] != "on" || settings["client_encoding"] != "UTF8" {
				t.Fatalf("pinned settings are %v", settings)
			}
			if ms, ok := Milliseconds(settings["statement_timeout"]); !ok || ms == 0 || ms > 1000 {
				t.Fatalf("statement_timeout %q", settings["statement_timeout"])
			}
		}
	})
}

// FuzzBind reads a Bind in two pieces and whole, and against a reader that is too simple to be wrong.
func FuzzBind(f *testing.F) {
	f.Add([]byte("\x00\x01\x00\x01\x00\x02\x00\x00\x00\x02ab\xff\xff\xff\xff\x00\x01\x00\x01"), 7)
	f.Add([]byte("\x00\x00\x00\x00\x00\x00"), 1)
	f.Add([]byte("\x00\x00\x00\x01\x7f\xff\xff\xff\x00\x00"), 5)
	f.Fuzz(func(t *testing.T, body []byte, at int) {
		var whole, pieces binding
		whole.reset(len(body), nil, nil)
		err := whole.write(body)
		ok := err == nil && whole.stage == bindDone
		if ok != simpleBind(body) {
			t.Fatalf("whole %v (%v), by the book %v", ok, err, simpleBind(body))
		}
		cut := 0
		if len(body) > 0 {
			cut = int(uint(at) % uint(len(body)))
		}
		pieces.reset(len(body), nil, nil)
		err = pieces.write(body[:cut])
		if err == nil {
			err = pieces.write(body[cut:])
		}
		if got := err == nil && pieces.stage == bindDone; got != ok {
			t.Fatalf("in pieces %v, whole %v", got, ok)
		}
		if ok && (!bytes.Equal(whole.hash.Sum(nil), pieces.hash.Sum(nil)) || !bytes.Equal(whole.shown, pieces.shown)) {
			t.Fatalf("in pieces %q, whole %q", pieces.shown, whole.shown)
		}
		if len(whole.shown) > maxShown+4*maxShownValue {
			t.Fatalf("shows %d bytes", len(whole.shown))
		}
	})
}

func simpleBind(p []byte) bool {
	short := func() (int, bool) {
		if len(p) < 2 {
			return 0, false
		}
		n := int(binary.BigEndian.Uint16(p))
		p = p[2:]
		return n, true
	}
	formats, ok := short()
	if !ok || len(p) < 2*formats {
		return false
	}
	p = p[2*formats:]
	values, ok := short()
	if !ok || formats > 1 && formats != values {
		return false
	}
	for range values {
		if len(p) < 4 {
			return false
		}
		size := int(int32(binary.BigEndian.Uint32(p)))
		p = p[4:]
		if size < -1 || size > len(p) {
			return false
		}
		p = p[max(size, 0):]
	}
	results, ok := short()
	if !ok || len(p) != 2*results {
		return false
	}
	for range results {
		if f, _ := short(); f > 1 {
			return false
		}
	}
	return true
}

// FuzzCore lets both sides say anything, in any order, and people and recorder answer at any time. Nothing may
// panic; what goes to the server is whole messages, none of them a statement that is refused; and a protected
// column's value, which the server's rows always hold, never shows.
func FuzzCore(f *testing.F) {
	var all []byte
	for _, turn := range conversation() {
		for who, p := range [][]byte{turn.agent, turn.server} {
			for len(p) > 0 {
				n := min(len(p), 255)
				all = append(append(all, byte(who), byte(n)), p[:n]...)
				p = p[n:]
			}
		}
	}
	f.Add(all)
	f.Add([]byte{2, 0, 3, 0, 4, 0})
	for _, turn := range conversation() {
		f.Add(append([]byte{0, byte(len(turn.agent))}, turn.agent...))
		f.Add(append([]byte{1, byte(len(turn.server))}, turn.server...))
	}
	rules := strict(f)
	f.Fuzz(func(t *testing.T, script []byte) {
		c, _ := newCore(t, rules)
		var toServer []byte
		for len(script) >= 2 && !c.Ended() {
			who, n := script[0], min(int(script[1]), len(script)-2)
			p := bytes.Clone(script[2 : 2+n])
			script = script[2+n:]
			switch who % 6 {
			case 0:
				c.Agent(p)
			case 1:
				_ = c.Server(p)
			case 2:
				c.Flushed(nil)
			case 3:
				c.Noted("apr")
				c.Decided(&session.Grant{Request: "apr"}, nil)
			case 4:
				c.Decided(nil, session.ErrDenied)
			case 5:
				c.Cancel()
				c.Cancelled()
			}
			s, _ := c.ToServer(nil)
			toServer = append(toServer, s...)
			c.ToAgent(nil)
			c.Cancelling()
		}
		c.Close(nil)
		checkForwarded(t, rules, toServer, c.forward > 0 || c.binding != nil)
	})
}

func checkForwarded(t *testing.T, rules *Rules, p []byte, cut bool) {
	for len(p) > 0 {
		if len(p) < header {
			t.Fatalf("%d bytes at the end of what was sent", len(p))
		}
		n := 1 + int(binary.BigEndian.Uint32(p[1:]))
		if n < header || n > len(p) {
			if cut && (p[0] == msgCopyData || p[0] == msgBind) {
				return
			}
			t.Fatalf("a message of type %q with %d of %d bytes was sent", p[0], len(p), n)
		}
		text := ""
		switch p[0] {
		case msgQuery:
			text = string(p[header : n-1])
		case msgParse:
			var m pgproto3.Parse
			if err := m.Decode(p[header:n]); err != nil {
				t.Fatalf("a Parse that cannot be read was sent: %q", p[:n])
			}
			text = m.Query
		case msgBind, msgDescribe, msgExecute, msgClose, msgSync, msgFlush, msgTerminate, msgCopyData, msgCopyDone, msgCopyFail:
		default:
			t.Fatalf("a message of type %q was sent", p[0])
		}
		if parsed, err := sql.Parse(text, sql.DefaultState()); err == nil {
			if v, _ := rules.destination.DecideAll(parsed.Commands); v.Action == policy.Deny && v.Rule == "no-drop" {
				t.Fatalf("%q was sent", text)
			}
		}
		p = p[n:]
	}
}

// FuzzMaskedRow gives the server's row any shape behind a protected column: its value never shows.
func FuzzMaskedRow(f *testing.F) {
	f.Add([]byte("\x00\x02\x00\x00\x00\x01\x31\x00\x00\x00\x06SECRET"))
	f.Add([]byte("\x00\x02\xff\xff\xff\xff\x00\x00\x00\x06SECRET"))
	f.Add([]byte("\x00\x03\x00\x00\x00\x06SECRET\x00\x00\x00\x06SECRET\x00\x00\x00\x00"))
	rules := strict(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		if len(body) > 1<<16 {
			return
		}
		c, _ := newCore(t, rules)
		c.Agent(encode(&pgproto3.Query{String: "SELECT card, card FROM customers"}))
		_ = c.Server(encode(&pgproto3.RowDescription{Fields: []pgproto3.FieldDescription{
			{Name: []byte("a"), DataTypeOID: 25}, {Name: []byte("b"), TableOID: 100, TableAttributeNumber: 2, DataTypeOID: 25}}}))
		c.ToAgent(nil)
		frame := append([]byte{'D', 0, 0, 0, 0}, body...)
		binary.BigEndian.PutUint32(frame[1:], uint32(len(frame)-1))
		_ = c.Server(frame)
		out, _ := c.ToAgent(nil)
		if bytes.Contains(out, []byte("SECRET")) {
			t.Fatalf("%q shows in %q", body, out)
		}
	})
}

// FuzzCopyLine writes two values as COPY does and reads what came through: the first unchanged, the second masked.
func FuzzCopyLine(f *testing.F) {
	f.Add([]byte("1"), []byte("SECRET"), false)
	f.Add([]byte("a\tb\\"), []byte("SE\nCR\\ET"), false)
	f.Add([]byte("a,\"b\""), []byte("SE\"CR,ET\n"), true)
	f.Fuzz(func(t *testing.T, a, b []byte, quoted bool) {
		c, _ := newCore(t, strict(t))
		o := c.queue.push(owed{kind: answerQuery, judged: &judged{rules: c.cfg.Rules()}})
		c.copyOut = &copyOut{
			columns: []column{{treatment: treatPass}, {treatment: treatMask, method: policy.MaskRedact}},
			format:  copyFormat{kind: 't', delimiter: '\t', null: `\N`},
		}
		write, read, line := textValue, readText, c.textLine
		if quoted {
			c.copyOut.format = copyFormat{kind: 'c', delimiter: ',', quote: '"', escape: '"'}
			write, read, line = csvValue, readCSV, c.csvLine
		}
		in := append(append(append(write(a), c.copyOut.format.delimiter), write(b)...), '\n')
		c.row = c.row[:0]
		if !line(o, in) {
			t.Fatalf("%q cannot be read", in)
		}
		got := read(c.row)
		if len(got) != 2 || !bytes.Equal(got[0], a) || len(bytes.Trim(got[1], "*")) > 0 || len(got[1]) > 8 {
			t.Fatalf("%q became %q, that is %q", in, c.row, got)
		}
		// Anything at all is read or refused.
		c.row = c.row[:0]
		line(o, a)
	})
}

func textValue(v []byte) []byte {
	return []byte(strings.NewReplacer("\\", `\\`, "\n", `\n`, "\r", `\r`, "\t", `\t`).Replace(string(v)))
}

func csvValue(v []byte) []byte {
	return append(append([]byte{'"'}, bytes.ReplaceAll(v, []byte(`"`), []byte(`""`))...), '"')
}

func readText(line []byte) [][]byte {
	out := [][]byte{nil}
	for i := 0; i < len(line)-1; i++ {
		last := &out[len(out)-1]
		switch b := line[i]; b {
		case '\t':
			out = append(out, nil)
		case '\\':
			i++
			*last = append(*last, map[byte]byte{'b': '\b', 'f': '\f', 'v': '\v', 'n': '\n', 'r': '\r', 't': '\t', '\\': '\\'}[line[i]])
		default:
			*last = append(*last, b)
		}
	}
	return out
}

func readCSV(line []byte) [][]byte {
	var out [][]byte
	for i := 0; i < len(line); i++ {
		var value []byte
		for i++; i < len(line); i++ {
			if line[i] == '"' {
				if line[i+1] != '"' {
					break
				}
				i++
			}
			value = append(value, line[i])
		}
		out = append(out, value)
		i++
	}
	return out
}
