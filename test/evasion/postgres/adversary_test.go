package postgres

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
	sidecar "github.com/chaperone-dev/chaperone/sidecar/postgres"
	"github.com/chaperone-dev/chaperone/sidecar/record"
	"github.com/chaperone-dev/chaperone/sidecar/session"
	"github.com/chaperone-dev/chaperone/test/postgresserver"
	"github.com/chaperone-dev/chaperone/test/postgressidecar"
)

// patience is how long an answer may take on a machine that is busy.
const patience = 60 * time.Second

// front is a sidecar under one policy.
type front struct {
	*postgressidecar.Front
	log *log
	// change replaces the policy.
	change func(*policy.Destination)
}

// sidecarUnder starts a sidecar before the world's server.
func (w *world) sidecarUnder(t *testing.T, pg policy.Postgres, change ...func(*sidecar.Options)) *front {
	t.Helper()
	pg.TLSMode, pg.HasCredentials, pg.CredentialsID = policy.TLSDisable, true, "prod/billing-db"
	d, err := postgressidecar.Destination(pg)
	if err != nil {
		t.Fatal(err)
	}
	options := sidecar.Options{HandshakeTimeout: patience, ConnectTimeout: patience, FlushTimeout: patience}
	for _, c := range change {
		c(&options)
	}
	var rules atomic.Pointer[policy.Destination]
	rules.Store(d)
	f := &front{log: &log{}, change: rules.Store}
	f.Front = &postgressidecar.Front{
		Protocol:    sidecar.New(options),
		Rules:       rules.Load,
		Dial:        postgressidecar.Dialer(w.server.Address()),
		Credentials: credentials{}, Approvals: nobody{}, Recorder: f.log,
	}
	if err := f.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Stop)
	return f
}

// credentials lease a role that may do anything: what holds the adversary is the sidecar alone.
type credentials struct{}

func (credentials) Lease(context.Context, string, string) (*session.Lease, error) {
	return &session.Lease{Username: postgresserver.RoleTrust}, nil
}

// nobody approves.
type nobody struct{}

func (nobody) Await(context.Context, session.Ask, func(string)) (*session.Grant, error) {
	return nil, fmt.Errorf("request apr-1: %w", session.ErrDenied)
}

// log counts what was recorded, and keeps it to be searched.
type log struct {
	mu       sync.Mutex // guards what follows
	commands int
	texts    bytes.Buffer
}

func (l *log) Record(e record.Event) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e.Kind == record.KindCommand {
		l.commands++
	}
	fmt.Fprintf(&l.texts, "%s %s %s\n", e.Text, e.Message, e.Error)
	return nil
}

func (l *log) Ready(int) bool              { return true }
func (l *log) Keep(e record.Event)         { _ = l.Record(e) }
func (l *log) Flush(context.Context) error { return nil }
func (l *log) Close() error                { return nil }

// take returns what was recorded since it was last asked.
func (l *log) take() (commands int, texts []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	commands, texts = l.commands, bytes.Clone(l.texts.Bytes())
	l.commands = 0
	l.texts.Reset()
	return commands, texts
}

// adversary is a connection that keeps every byte it receives.
type adversary struct {
	t        *testing.T
	conn     net.Conn
	front    *pgproto3.Frontend
	received bytes.Buffer
	lost     error
}

// attack connects, through a sidecar or past it, and logs in.
func attack(t *testing.T, address, user, database string, parameters map[string]string) *adversary {
	t.Helper()
	conn, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	a := &adversary{t: t, conn: conn}
	a.front = pgproto3.NewFrontend(io.TeeReader(conn, &a.received), conn)
	start := &pgproto3.StartupMessage{ProtocolVersion: pgproto3.ProtocolVersion30, Parameters: map[string]string{"user": user, "database": database}}
	for k, v := range parameters {
		start.Parameters[k] = v
	}
	a.send(start)
	a.until(1)
	return a
}

func (a *adversary) send(messages ...pgproto3.FrontendMessage) {
	for _, m := range messages {
		a.front.Send(m)
	}
	if err := a.front.Flush(); err != nil && a.lost == nil {
		a.lost = err
	}
}

// raw sends bytes.
func (a *adversary) raw(b []byte) {
	if _, err := a.conn.Write(b); err != nil && a.lost == nil {
		a.lost = err
	}
}

// until receives n times ReadyForQuery, or the end; what a COPY asks for is given to it.
func (a *adversary) until(n int) (errs []*pgproto3.ErrorResponse) {
	return a.feed(n, nil)
}

func (a *adversary) feed(n int, data []byte) (errs []*pgproto3.ErrorResponse) {
	if err := a.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		a.t.Fatal(err)
	}
	for n > 0 {
		m, err := a.front.Receive()
		if err != nil {
			var timeout net.Error
			if errors.As(err, &timeout) && timeout.Timeout() {
				a.t.Errorf("no answer within %s", patience)
			}
			a.lost = err
			return errs
		}
		switch m := m.(type) {
		case *pgproto3.ErrorResponse:
			e := *m
			errs = append(errs, &e)
		case *pgproto3.CopyInResponse:
			if data == nil {
				a.send(&pgproto3.CopyFail{Message: "nothing to send"})
			} else {
				a.send(&pgproto3.CopyData{Data: data}, &pgproto3.CopyDone{})
			}
		case *pgproto3.ReadyForQuery:
			n--
		}
	}
	return errs
}

// said is what was received without the cancel keys, whose numbers may be those of a secret's binary form.
func (a *adversary) said() []byte {
	var out bytes.Buffer
	for b := a.received.Bytes(); len(b) >= 5; {
		n := int(uint32(b[1])<<24|uint32(b[2])<<16|uint32(b[3])<<8|uint32(b[4])) + 1
		if n > len(b) {
			out.Write(b)
			break
		}
		if b[0] != 'K' {
			out.Write(b[:n])
		}
		b = b[n:]
	}
	return out.Bytes()
}

// comparable is said without names of databases, which differ from one session to the next.
func (a *adversary) comparable() string {
	s := string(a.said())
	for _, name := range databases {
		s = strings.ReplaceAll(s, name, "evasion_xxx")
	}
	return s
}
