package postgres

import (
	"crypto/x509"
	"fmt"
	"net"
	"time"

	"github.com/jackc/pgproto3/v2"

	"github.com/chaperone-dev/chaperone/sidecar/postgres/wire"
)

// client is an agent whose start-up packet was read.
type client struct {
	conn  net.Conn
	start *wire.Startup
	// certificate is the one that it was shown over TLS; nil in clear.
	certificate *x509.Certificate

	told    bool // of the protocol version, where that differs from what it asked for
	greeted bool // it has its AuthenticationOk
}

// negotiation is what has to be said of the protocol version, which comes before anything else.
func (c *client) negotiation() []byte {
	if c.told {
		return nil
	}
	c.told = true
	if version, tell := c.start.Negotiated(); tell {
		return wire.AppendNegotiation(nil, version, c.start.Options)
	}
	return nil
}

// welcome is what has not been said yet up to AuthenticationOk.
func (c *client) welcome() []byte {
	hello := c.negotiation()
	if c.greeted {
		return hello
	}
	c.greeted = true
	return appendMessage(hello, &pgproto3.AuthenticationOk{})
}

// greet lets the agent know that it is being served, for as long as that may take.
func (c *client) greet() error {
	if _, err := c.conn.Write(c.welcome()); err != nil {
		return fmt.Errorf("answering the agent's start-up: %w", err)
	}
	return c.conn.SetDeadline(time.Time{})
}
