package kube

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-dev/chaperone/test/kubeserver"
)

// client is an adversary's own: it sends what it likes.
type client struct {
	*tls.Conn
	r      *bufio.Reader
	base64 bool
}

func dial(t testing.TB, address string, root []byte) *client {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(root)
	conn, err := (&tls.Dialer{Config: &tls.Config{RootCAs: roots, NextProtos: []string{"http/1.1"}}}).DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return &client{Conn: conn.(*tls.Conn), r: bufio.NewReader(conn)}
}

func (c *client) send(t testing.TB, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
}

// answer reads one answer; 0 where there is none.
func (c *client) answer() (code int, body string) {
	response, err := http.ReadResponse(c.r, nil)
	if err != nil {
		return 0, ""
	}
	if response.StatusCode == http.StatusSwitchingProtocols {
		return response.StatusCode, ""
	}
	defer response.Body.Close()
	content, _ := io.ReadAll(response.Body)
	return response.StatusCode, string(content)
}

const handshake = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"

// socketRequest asks for a WebSocket.
func socketRequest(protocol, target string) string {
	return "GET " + target + " HTTP/1.1\r\nHost: x\r\n" + handshake + "Sec-WebSocket-Protocol: " + protocol + "\r\n\r\n"
}

// spdyRequest asks for SPDY.
func spdyRequest(protocol, target string) string {
	return "POST " + target + " HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: " + protocol + "\r\nContent-Length: 0\r\n\r\n"
}

// upgrade opens a WebSocket, or SPDY where the protocol is none.
func (c *client) upgrade(t testing.TB, protocol, target string) {
	t.Helper()
	request := socketRequest(protocol, target)
	if protocol == "" {
		request = spdyRequest("v4.channel.k8s.io", target)
	}
	c.base64 = strings.Contains(protocol, "base64")
	c.send(t, request)
	if code, body := c.answer(); code != http.StatusSwitchingProtocols {
		t.Fatalf("the upgrade was answered with %d: %s", code, body)
	}
}

const (
	fin       = 0x80
	text      = 0x01
	binaryOp  = 0x02
	closing   = 0x08
	pinging   = 0x09
	maskBit   = 0x80
	reserved1 = 0x40
)

// frame is a client's WebSocket frame.
func frame(head byte, payload string) string {
	b := []byte{head}
	switch n := len(payload); {
	case n < 126:
		b = append(b, maskBit|byte(n))
	case n <= 0xffff:
		b = binary.BigEndian.AppendUint16(append(b, maskBit|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, maskBit|127), uint64(n))
	}
	key := []byte{0x37, 0xfa, 0x21, 0x3d}
	b = append(b, key...)
	for i := range len(payload) {
		b = append(b, payload[i]^key[i%4])
	}
	return string(b)
}

// received is what came on a session's channels until its end.
type received struct {
	stdout, stderr, status string
	// wire is all that came, framing too.
	wire string
}

// all reads the frames of a server until the connection ends.
func (c *client) all() received {
	var got received
	for {
		f, ok := c.next()
		got.wire += f.payload
		if !ok {
			return got
		}
		payload := f.payload
		if f.opcode >= closing || payload == "" {
			continue
		}
		channel := payload[0]
		payload = payload[1:]
		if c.base64 {
			channel -= '0'
			decoded, _ := base64.StdEncoding.DecodeString(payload)
			payload = string(decoded)
			got.wire += payload
		}
		switch channel {
		case 1:
			got.stdout += payload
		case 2:
			got.stderr += payload
		case 3:
			got.status += payload
		}
	}
}

type serverFrame struct {
	opcode  byte
	payload string
}

// next reads a server's frame.
func (c *client) next() (f serverFrame, ok bool) {
	var head [2]byte
	if _, err := io.ReadFull(c.r, head[:]); err != nil {
		return f, false
	}
	n := uint64(head[1] & 0x7f)
	switch n {
	case 126:
		var b [2]byte
		if _, err := io.ReadFull(c.r, b[:]); err != nil {
			return f, false
		}
		n = uint64(binary.BigEndian.Uint16(b[:]))
	case 127:
		var b [8]byte
		if _, err := io.ReadFull(c.r, b[:]); err != nil {
			return f, false
		}
		n = binary.BigEndian.Uint64(b[:])
	}
	var b bytes.Buffer
	if _, err := io.CopyN(&b, c.r, int64(n)); err != nil {
		return f, false
	}
	return serverFrame{head[0] & 0x0f, b.String()}, true
}

// negotiated is the protocol (ALPN, RFC 7301) that is agreed on where these are offered; "" where there is none.
func negotiated(t testing.TB, s *kubeserver.Sidecar, protocols ...string) string {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(s.CAPEM())
	conn, err := (&tls.Dialer{Config: &tls.Config{RootCAs: roots, NextProtos: protocols}}).DialContext(t.Context(), "tcp", s.Address())
	if err != nil {
		return ""
	}
	defer conn.Close()
	return conn.(*tls.Conn).ConnectionState().NegotiatedProtocol
}
