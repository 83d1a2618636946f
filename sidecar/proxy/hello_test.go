package proxy

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// said is a connection on which an agent has said this, in pieces, and then nothing more.
func said(t testing.TB, pieces ...[]byte) net.Conn {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	theirs, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	ours, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ours.Close() })
	go func() {
		defer theirs.Close()
		for _, p := range pieces {
			if _, err := theirs.Write(p); err != nil {
				return
			}
		}
	}()
	return ours
}

// clientHello is what a real client sends first.
func clientHello(t testing.TB, name string) []byte {
	t.Helper()
	ours, theirs := net.Pipe()
	defer ours.Close()
	go func() {
		_ = tls.Client(theirs, &tls.Config{ServerName: name, InsecureSkipVerify: name == ""}).Handshake()
	}()
	_ = ours.SetReadDeadline(time.Now().Add(5 * time.Second))
	buf := make([]byte, 16<<10)
	n, err := ours.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	return buf[:n]
}

// fragmented carries the same handshake message in records of one byte each (RFC 8446 5.1).
func fragmented(hello []byte) []byte {
	var out []byte
	for _, b := range hello[5:] {
		out = append(out, hello[0], hello[1], hello[2], 0, 1, b)
	}
	return out
}

func TestPeek(t *testing.T) {
	hello := clientHello(t, "api.llm.example")
	var bytewise [][]byte
	for _, b := range hello {
		bytewise = append(bytewise, []byte{b})
	}
	for name, c := range map[string]struct {
		said [][]byte
		tls  bool
		sni  string
		err  string
	}{
		"a TLS client":                        {[][]byte{hello}, true, "api.llm.example", ""},
		"byte by byte":                        {bytewise, true, "api.llm.example", ""},
		"in records of one byte":              {[][]byte{fragmented(hello)}, true, "api.llm.example", ""},
		"with what follows":                   {[][]byte{hello, []byte("early data")}, true, "api.llm.example", ""},
		"without a name":                      {[][]byte{clientHello(t, "")}, true, "", ""},
		"something else":                      {[][]byte{[]byte("GET / HTTP/1.1\r\n")}, false, "", ""},
		"nothing":                             {nil, false, "", ""},
		"a beginning of TLS and then the end": {[][]byte{hello[:40]}, false, "", "EOF"},
		"what begins like TLS and is none":    {[][]byte{append([]byte{22, 3, 1, 0, 4}, "GET "...), bytes.Repeat([]byte("x"), 100)}, false, "", "tls: "},
		"a ClientHello longer than any":       {[][]byte{fragmented(append(append([]byte(nil), hello[:5]...), append([]byte{1, 0, 0x80, 0}, make([]byte, 0x8000)...)...))}, false, "", errLongHello.Error()},
		"two names":                           {[][]byte{twoNames(hello)}, false, "", "tls"},
	} {
		t.Run(name, func(t *testing.T) {
			first, got, err := peek(said(t, c.said...))
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("got %v, %v", got, err)
				}
				return
			}
			if err != nil || (got != nil) != c.tls || got != nil && got.ServerName != c.sni {
				t.Fatalf("got %+v, %v", got, err)
			}
			if all := bytes.Join(c.said, nil); !bytes.HasPrefix(all, first) || len(all) > 0 && len(first) == 0 {
				t.Errorf("what was said is lost: %x", first)
			}
		})
	}
}

// twoNames repeats the server name extension, so that one reader may take the first and another the last.
func twoNames(hello []byte) []byte {
	name := []byte("api.llm.example")
	at := bytes.Index(hello, name) - 9 // type 2, length 2, list 2, kind 1, length 2
	extension := hello[at : at+9+len(name)]
	out := append(append(append([]byte(nil), hello[:at]...), extension...), hello[at:]...)
	grow := func(i, size, by int) {
		for k := i + size - 1; by > 0 && k >= i; k-- {
			by += int(out[k])
			out[k] = byte(by)
			by >>= 8
		}
	}
	grow(3, 2, len(extension))
	grow(6, 3, len(extension))
	session := 5 + 4 + 2 + 32
	suites := session + 1 + int(out[session])
	compression := suites + 2 + int(out[suites])<<8 + int(out[suites+1])
	extensions := compression + 1 + int(out[compression])
	grow(extensions, 2, len(extension))
	return out
}

func TestPeekDoesNotWaitForTheEndOfAHelloForEver(t *testing.T) {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	hello := clientHello(t, "api.llm.example")
	go func() { _, _ = theirs.Write(hello[:20]) }()
	start := time.Now()
	_, _, err := peek(&hurried{Conn: ours})
	var timeout net.Error
	if !errors.As(err, &timeout) || !timeout.Timeout() || time.Since(start) > 5*time.Second {
		t.Errorf("after %s: %v", time.Since(start), err)
	}
}

// hurried brings deadlines nearer.
type hurried struct{ net.Conn }

func (h *hurried) SetReadDeadline(d time.Time) error {
	if d.IsZero() {
		return h.Conn.SetReadDeadline(d)
	}
	return h.Conn.SetReadDeadline(time.Now().Add(time.Until(d) / 100))
}

func FuzzPeek(f *testing.F) {
	hello := clientHello(f, "api.llm.example")
	f.Add(hello)
	f.Add(fragmented(hello)[:600])
	f.Add(twoNames(hello))
	f.Add([]byte("GET / HTTP/1.1\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		first, hello, err := peek(&canned{Reader: bytes.NewReader(b)})
		if err == nil && !bytes.HasPrefix(b, first) {
			t.Errorf("%x became %x", b, first)
		}
		if len(first) > maxHello+64<<10 || hello != nil && err != nil {
			t.Errorf("%d bytes, %v, %v", len(first), hello, err)
		}
	})
}

// canned is a connection that reads from memory.
type canned struct {
	net.Conn
	io.Reader
}

func (c *canned) Read(b []byte) (int, error)       { return c.Reader.Read(b) }
func (c *canned) SetReadDeadline(time.Time) error  { return nil }
func (c *canned) SetWriteDeadline(time.Time) error { return nil }
func (c *canned) SetDeadline(time.Time) error      { return nil }
func (c *canned) Close() error                     { return nil }
