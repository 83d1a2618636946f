package postgres

import (
	"errors"
	"io"
	"net"
	"time"

	"github.com/jackc/pgproto3/v2"
)

// Refusal is why a session was not begun, in words that an agent may read.
type Refusal struct {
	Code, Message, Detail, Hint string
	cause                       error
}

func (r *Refusal) Error() string { return r.Message }

func (r *Refusal) Unwrap() error { return r.cause }

func refuse(code, message, hint string) *Refusal {
	return &Refusal{Code: code, Message: message, Hint: hint}
}

// tell answers an agent whose session ends before it began.
func tell(agent net.Conn, err error) {
	r := &Refusal{Code: "58000", Message: "the session could not begin: " + err.Error()}
	errors.As(err, &r)
	m := pgproto3.ErrorResponse{
		Severity: "FATAL", SeverityUnlocalized: "FATAL", Code: r.Code, Message: r.Message, Detail: r.Detail, Hint: r.Hint,
	}
	out, err := m.Encode(nil)
	if err != nil {
		return
	}
	_ = agent.SetWriteDeadline(time.Now().Add(farewell))
	if _, err := agent.Write(out); err == nil { // else the agent is gone, and there is nobody to tell
		linger(agent)
	}
}

// linger lets the last word arrive: a connection that is closed with bytes of the peer's unread is reset, and what
// the peer has not read yet is lost with it.
func linger(conn net.Conn) {
	if half, ok := conn.(interface{ CloseWrite() error }); !ok || half.CloseWrite() != nil {
		return
	}
	_ = conn.SetReadDeadline(time.Now().Add(lingering))
	_, _ = io.CopyN(io.Discard, conn, maxLinger)
}

const (
	// lingering is how long a peer has to read the last word, and maxLinger how much it may say meanwhile.
	lingering = time.Second
	maxLinger = 1 << 20
)

// farewell bounds the last write to an agent.
const farewell = 5 * time.Second
