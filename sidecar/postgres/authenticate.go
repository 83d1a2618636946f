package postgres

import (
	"errors"
	"fmt"
	"io"

	"github.com/jackc/pgproto3/v2"

	"github.com/chaperone-dev/chaperone/sidecar/postgres/sasl"
)

// authenticate asks the agent for the password that the policy names, by SCRAM, so that a client can bind the
// connection to the certificate that it was shown and refuse one that cannot be bound. Being in the pod is the agent's
// identity, with or without that: an empty password asks for nothing.
func (p *Protocol) authenticate(c *client, password string) error {
	if password == "" {
		return nil
	}
	verifier, err := p.verifier(password)
	if err != nil {
		return refuse("58000", "the password that the policy asks agents for cannot be used: "+err.Error(), "")
	}
	exchange := verifier.Begin(c.certificate)
	if err := c.ask(c.negotiation(), &pgproto3.AuthenticationSASL{AuthMechanisms: exchange.Mechanisms()}); err != nil {
		return err
	}
	body, err := c.answer()
	if err != nil {
		return err
	}
	challenge, err := exchange.First(body)
	if err != nil {
		return c.unproved(err)
	}
	if err := c.ask(nil, &pgproto3.AuthenticationSASLContinue{Data: challenge}); err != nil {
		return err
	}
	if body, err = c.answer(); err != nil {
		return err
	}
	proof, err := exchange.Final(body)
	if err != nil {
		return c.unproved(err)
	}
	return c.ask(nil, &pgproto3.AuthenticationSASLFinal{Data: proof})
}

// unproved refuses an agent in the words of the server.
func (c *client) unproved(err error) error {
	switch {
	case errors.Is(err, sasl.ErrPassword):
		return refuse("28P01", fmt.Sprintf("password authentication failed for user %q", c.start.Get("user")),
			"The policy asks agents for the password in postgres.agentPassword of its target; it is not the database's.")
	case errors.Is(err, sasl.ErrBinding):
		return refuse("28000", err.Error(), "The client was shown another certificate than the sidecar's: something between them ends TLS.")
	case errors.Is(err, sasl.ErrNegotiation):
		return refuse("28000", err.Error(), "The client did not see that channel binding was offered: something is between it and the sidecar.")
	}
	return refuse("08P01", err.Error(), "")
}

func (c *client) ask(before []byte, m pgproto3.BackendMessage) error {
	if _, err := c.conn.Write(appendMessage(before, m)); err != nil {
		return fmt.Errorf("asking the agent for its password: %w", err)
	}
	return nil
}

// answer reads an answer to the request for a password. It takes no byte more: what follows is the session's.
func (c *client) answer() ([]byte, error) {
	var head [sasl.Head]byte
	if _, err := io.ReadFull(c.conn, head[:]); err != nil {
		if errors.Is(err, io.EOF) { // a client that has no password, or asks its user first
			return nil, errAgentGone
		}
		return nil, fmt.Errorf("reading the agent's password: %w", err)
	}
	n, err := sasl.Length(head)
	if err != nil {
		return nil, refuse("08P01", err.Error(), "")
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(c.conn, body); err != nil {
		return nil, fmt.Errorf("reading the agent's password: %w", err)
	}
	return body, nil
}

// verifier keeps what is derived from a password.
func (p *Protocol) verifier(password string) (*sasl.Verifier, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if v := p.verifiers[password]; v != nil {
		return v, nil
	}
	v, err := sasl.NewVerifier(password)
	if err != nil {
		return nil, err
	}
	if len(p.verifiers) >= maxRules { // of policies that are gone
		clear(p.verifiers)
	}
	p.verifiers[password] = v
	return v, nil
}
