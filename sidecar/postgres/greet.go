package postgres

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/chaperone-dev/chaperone/sidecar/postgres/wire"
	"github.com/chaperone-dev/chaperone/sidecar/session"
)

// alpn is PostgreSQL's protocol name (protocol, "SSL Session Encryption").
const alpn = "postgresql"

// greeting is an agent's connection before its session begins.
type greeting struct {
	conn        net.Conn
	buf         []byte // received and not yet taken
	secure      bool
	certificate *x509.Certificate // what the agent was shown
}

// greet answers whatever an agent's connection begins with, up to its start-up packet: TLS by request or at once,
// GSSAPI refused. A cancel request is dealt with, and there is no client.
func (p *Protocol) greet(ctx context.Context, s *session.Session) (*client, error) {
	g := &greeting{conn: &transport{Conn: s.Agent}}
	if err := g.more(); err != nil {
		if errors.Is(err, io.EOF) { // a probe
			return nil, nil
		}
		return nil, fmt.Errorf("reading the agent's start-up: %w", err)
	}
	if g.buf[0] == tlsHandshake {
		if err := g.secured(ctx, s, true); err != nil {
			return nil, err
		}
	}
	refusedGSS := false
	for {
		start, err := g.packet()
		switch {
		case errors.Is(err, io.EOF):
			return nil, nil
		case errors.Is(err, wire.ErrStartup):
			tell(g.conn, refuse("08P01", err.Error(), ""))
			return nil, err
		case err != nil:
			return nil, fmt.Errorf("reading the agent's start-up: %w", err)
		}
		switch start.Kind {
		case wire.StartupSSL:
			if g.secure || len(g.buf) > 0 {
				// Bytes behind the request were sent in clear and would be taken for encrypted ones
				// (CVE-2021-23214).
				return nil, g.broken("unencrypted data behind the SSL request")
			}
			if err := g.send([]byte{'S'}); err != nil {
				return nil, err
			}
			if err := g.secured(ctx, s, false); err != nil {
				return nil, err
			}
		case wire.StartupGSS:
			if g.secure || refusedGSS || len(g.buf) > 0 {
				return nil, g.broken("an unexpected GSSAPI request")
			}
			refusedGSS = true
			if err := g.send([]byte{'N'}); err != nil {
				return nil, err
			}
		case wire.StartupCancel:
			p.cancels.cancel(start.ProcessID, start.Key)
			return nil, nil
		default:
			if start.Version>>16 != 3 {
				return nil, g.broken(fmt.Sprintf("unsupported frontend protocol %d.%d: 3.0 and 3.2 are spoken", start.Version>>16, start.Version&0xffff))
			}
			if start.Get("user") == "" {
				r := refuse("28000", "no PostgreSQL user name specified in startup packet", "")
				tell(g.conn, r)
				return nil, r
			}
			c := &client{conn: g.conn, start: start, certificate: g.certificate}
			if len(g.buf) > 0 {
				c.conn = &ahead{Conn: g.conn, buf: g.buf}
			}
			return c, nil
		}
	}
}

// tlsHandshake is the first byte of a TLS connection (RFC 8446, section 5.1); a startup packet begins with the
// high byte of a length, which is zero.
const tlsHandshake = 0x16

func (g *greeting) more() error {
	p := make([]byte, 1024)
	n, err := g.conn.Read(p)
	g.buf = append(g.buf, p[:n]...)
	if n > 0 {
		return nil
	}
	return err
}

func (g *greeting) packet() (*wire.Startup, error) {
	for {
		start, n, err := wire.ParseStartup(g.buf)
		if err != nil {
			return nil, err
		}
		if n > 0 {
			g.buf = g.buf[n:]
			return start, nil
		}
		if err := g.more(); err != nil {
			return nil, err
		}
	}
}

func (g *greeting) send(p []byte) error {
	if _, err := g.conn.Write(p); err != nil {
		return fmt.Errorf("answering the agent's start-up: %w", err)
	}
	return nil
}

func (g *greeting) broken(message string) error {
	r := refuse("08P01", message, "")
	tell(g.conn, r)
	return r
}

// secured makes the connection a TLS one. direct is TLS without a request, for which the protocol wants ALPN.
func (g *greeting) secured(ctx context.Context, s *session.Session, direct bool) error {
	if under, ok := g.conn.(*transport); ok {
		under.in, g.buf = g.buf, nil
	}
	t := tls.Server(g.conn, &tls.Config{
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			shown, err := s.Leaf(hello)
			if err == nil {
				g.certificate = shown.Leaf
			}
			return shown, err
		},
		MinVersion: tls.VersionTLS12,
		NextProtos: []string{alpn},
		// As PostgreSQL does: a resumed connection shows no certificate, so that nothing could be bound to it.
		SessionTicketsDisabled: true,
	})
	if err := t.HandshakeContext(ctx); err != nil {
		return fmt.Errorf("TLS with the agent: %w", err)
	}
	g.conn, g.buf, g.secure = t, nil, true
	if direct && t.ConnectionState().NegotiatedProtocol != alpn {
		return g.broken("a direct TLS connection without the ALPN protocol " + alpn)
	}
	return nil
}

// ahead is a connection of which some bytes were read before.
type ahead struct {
	net.Conn
	buf []byte
}

// CloseWrite closes the writing half, where the connection has one.
func (a *ahead) CloseWrite() error {
	if half, ok := a.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return net.ErrClosed
}

func (a *ahead) Read(p []byte) (int, error) {
	if len(a.buf) > 0 {
		n := copy(p, a.buf)
		a.buf = a.buf[n:]
		return n, nil
	}
	return a.Conn.Read(p)
}
