package kube_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/chaperone-dev/chaperone/test/kubeserver"
)

// dial connects as an agent.
func dial(t testing.TB, s *kubeserver.Sidecar) net.Conn {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(s.CAPEM())
	conn, err := (&tls.Dialer{Config: &tls.Config{RootCAs: roots, NextProtos: []string{"h2", "http/1.1"}}}).DialContext(t.Context(), "tcp", s.Address())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	return conn
}

func answerOf(t testing.TB, conn net.Conn) (code int, body string) {
	t.Helper()
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	content, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(content)
}

func pemOf(c *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
}

func TestAnIdleConnectionEndsWithItsSession(t *testing.T) {
	s := front(t, allowing())
	conn := dial(t, s)
	if _, err := io.WriteString(conn, "GET /version HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if code, _ := answerOf(t, conn); code != http.StatusOK {
		t.Fatalf("answered with %d", code)
	}
	s.Stop()
	if n, err := io.Copy(io.Discard, conn); n != 0 || err != nil {
		t.Errorf("%d bytes, %v", n, err)
	}
}
