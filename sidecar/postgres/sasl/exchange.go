package sasl

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"

	"github.com/xdg-go/scram"
)

// The mechanisms (RFC 7677).
const (
	Plain = "SCRAM-SHA-256"
	Bound = "SCRAM-SHA-256-PLUS"
)

// iterations are RFC 7677's least, and the server's own default. The password is no secret.
const iterations = 4096

// What is wrong with an agent's answer.
var (
	ErrMessage     = errors.New("malformed SASL message")
	ErrMechanism   = errors.New("client selected an invalid SASL authentication mechanism")
	ErrNegotiation = errors.New("SCRAM channel binding negotiation error")
	ErrBinding     = errors.New("SCRAM channel binding check failed")
	ErrPassword    = errors.New("password authentication failed")
)

// Verifier knows a password by what is derived from it, which takes a millisecond to make. It may be shared.
type Verifier struct{ server *scram.Server }

// NewVerifier derives it. The password is printable ASCII, so that SASLprep (RFC 4013) leaves it as it is.
func NewVerifier(password string) (*Verifier, error) {
	client, err := scram.SHA256.NewClientUnprepped("", password, "")
	if err != nil {
		return nil, fmt.Errorf("preparing the password: %w", err)
	}
	stored, err := client.GetStoredCredentialsWithError(scram.KeyFactors{Salt: rand.Text(), Iters: iterations})
	if err != nil {
		return nil, fmt.Errorf("deriving from the password: %w", err)
	}
	// PostgreSQL's clients may leave the name empty or say any: the start-up packet's counts (protocol, "SCRAM
	// Authentication").
	server, err := scram.SHA256.NewServer(func(string) (scram.StoredCredentials, error) { return stored, nil })
	if err != nil {
		return nil, err
	}
	return &Verifier{server}, nil
}

// Exchange is one agent's authentication: First, then Final.
type Exchange struct {
	verifier     *Verifier
	binding      scram.ChannelBinding
	conversation *scram.ServerConversation
}

// Begin begins an exchange with an agent that was shown a certificate over TLS, to which it may bind
// (tls-server-end-point, RFC 5929); nil where it was shown none.
func (v *Verifier) Begin(certificate *x509.Certificate) *Exchange {
	e := &Exchange{verifier: v}
	if certificate == nil {
		return e
	}
	// The function wants what a client sees. Without a hash for the certificate's algorithm there is no binding.
	if b, err := scram.NewTLSServerEndpointBinding(&tls.ConnectionState{PeerCertificates: []*x509.Certificate{certificate}}); err == nil {
		e.binding = b
	}
	return e
}

// Mechanisms are what the agent is offered, the best first.
func (e *Exchange) Mechanisms() []string {
	if e.binding.IsSupported() {
		return []string{Bound, Plain}
	}
	return []string{Plain}
}

// First takes the body of the agent's SASLInitialResponse and returns the challenge.
func (e *Exchange) First(body []byte) (challenge []byte, err error) {
	mechanism, first, err := initial(body)
	if err != nil {
		return nil, err
	}
	// What the agent says of channel binding has to go with the mechanism (RFC 5802, section 6).
	switch {
	case mechanism == Bound && e.binding.IsSupported():
		e.conversation = e.verifier.server.NewConversationWithChannelBindingRequired(e.binding)
	case mechanism != Plain:
		return nil, ErrMechanism
	case strings.HasPrefix(first, "p="):
		return nil, ErrMessage
	case e.binding.IsSupported():
		e.conversation = e.verifier.server.NewConversationWithChannelBinding(e.binding)
	default:
		e.conversation = e.verifier.server.NewConversation()
	}
	said, err := e.conversation.Step(first)
	switch {
	case err == nil:
		return []byte(said), nil
	case said == scram.ErrServerDoesSupportChannelBinding:
		return nil, ErrNegotiation
	}
	return nil, ErrMessage
}

// Final takes the body of the agent's SASLResponse and returns what proves the password to the agent in turn. Without an
// error the agent has the password, and is bound if it chose to be.
func (e *Exchange) Final(body []byte) (proof []byte, err error) {
	if e.conversation == nil {
		return nil, ErrMessage
	}
	said, err := e.conversation.Step(string(body))
	switch {
	case err == nil && e.conversation.Valid():
		return []byte(said), nil
	case said == scram.ErrChannelBindingsDontMatch:
		return nil, ErrBinding
	case said == scram.ErrInvalidProof:
		return nil, ErrPassword
	}
	return nil, ErrMessage
}
