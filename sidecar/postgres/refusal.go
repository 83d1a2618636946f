package postgres

import (
	"errors"
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
	_, _ = agent.Write(out) // the agent may be gone; there is nobody else to tell
}

// farewell bounds the last write to an agent.
const farewell = 5 * time.Second
