package postgres

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// talker speaks single messages.
type talker struct {
	t     testing.TB
	conn  net.Conn
	front *pgproto3.Frontend
}

func talk(t testing.TB, conn *pgconn.PgConn) *talker {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := conn.SyncConn(ctx); err != nil {
		t.Fatal(err)
	}
	h, err := conn.Hijack()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Conn.Close() })
	return &talker{t: t, conn: h.Conn, front: h.Frontend}
}

// send sends messages in one write.
func (k *talker) send(messages ...pgproto3.FrontendMessage) {
	k.t.Helper()
	for _, m := range messages {
		k.front.Send(m)
	}
	if err := k.front.Flush(); err != nil {
		k.t.Fatal(err)
	}
}

// until receives up to and with the n-th message of the type ("Z" for ReadyForQuery), and returns all in short.
func (k *talker) until(kind string, n int) string {
	k.t.Helper()
	return strings.Join(k.hear(kind, n, short), " ")
}

// whole is until with all that the messages say.
func (k *talker) whole(kind string, n int) string {
	k.t.Helper()
	return strings.Join(k.hear(kind, n, whole), "\n")
}

func (k *talker) hear(kind string, n int, say func(pgproto3.BackendMessage) string) []string {
	k.t.Helper()
	var got []string
	k.conn.SetReadDeadline(time.Now().Add(time.Minute))
	defer k.conn.SetReadDeadline(time.Time{})
	for n > 0 {
		m, err := k.front.Receive()
		if err != nil {
			return append(got, err.Error())
		}
		if short(m) == "" {
			continue
		}
		got = append(got, say(m))
		if strings.HasPrefix(short(m), kind) {
			n--
		}
	}
	return got
}

// whole is a message byte by byte, but for what differs between two sessions: process ids, the numbers and schemas of
// relations that are a session's own, and where in the server's source an error comes from, which our own do not name.
func whole(m pgproto3.BackendMessage) string {
	switch m := m.(type) {
	case *pgproto3.ErrorResponse:
		m.File, m.Line, m.Routine = "", 0, ""
		if strings.HasPrefix(m.SchemaName, "pg_temp_") {
			m.SchemaName = "pg_temp"
		}
	case *pgproto3.NotificationResponse:
		m.PID = 0
	case *pgproto3.RowDescription:
		for i := range m.Fields {
			m.Fields[i].TableOID = min(m.Fields[i].TableOID, 16384) // FirstNormalObjectId
		}
	}
	raw, err := m.Encode(nil)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%q", raw)
}

// short is a message in a word.
func short(m pgproto3.BackendMessage) string {
	switch m := m.(type) {
	case *pgproto3.ParseComplete:
		return "1"
	case *pgproto3.BindComplete:
		return "2"
	case *pgproto3.CloseComplete:
		return "3"
	case *pgproto3.CommandComplete:
		return fmt.Sprintf("C(%s)", m.CommandTag)
	case *pgproto3.DataRow:
		var values []string
		for _, v := range m.Values {
			if v == nil {
				values = append(values, "NULL")
			} else {
				values = append(values, string(v))
			}
		}
		return fmt.Sprintf("D(%s)", strings.Join(values, ","))
	case *pgproto3.EmptyQueryResponse:
		return "I"
	case *pgproto3.ErrorResponse:
		return fmt.Sprintf("E(%s)", m.Code)
	case *pgproto3.NoData:
		return "n"
	case *pgproto3.NoticeResponse:
		return fmt.Sprintf("N(%s)", m.Message)
	case *pgproto3.ParameterDescription:
		return fmt.Sprintf("t(%d)", len(m.ParameterOIDs))
	case *pgproto3.PortalSuspended:
		return "s"
	case *pgproto3.ReadyForQuery:
		return fmt.Sprintf("Z(%c)", m.TxStatus)
	case *pgproto3.RowDescription:
		return fmt.Sprintf("T(%d)", len(m.Fields))
	case *pgproto3.CopyInResponse:
		return "G"
	case *pgproto3.CopyOutResponse:
		return "H"
	case *pgproto3.CopyData:
		return fmt.Sprintf("d(%s)", strings.TrimSuffix(string(m.Data), "\n"))
	case *pgproto3.CopyDone:
		return "c"
	case *pgproto3.ParameterStatus:
		return "" // reported at different times
	}
	return fmt.Sprintf("%T", m)
}

// Messages in short.
func q(sql string) pgproto3.FrontendMessage { return &pgproto3.Query{String: sql} }

func parse(name, sql string) pgproto3.FrontendMessage {
	return &pgproto3.Parse{Name: name, Query: sql}
}

func bind(portal, name string, values ...string) pgproto3.FrontendMessage {
	b := &pgproto3.Bind{DestinationPortal: portal, PreparedStatement: name}
	for _, v := range values {
		b.Parameters = append(b.Parameters, []byte(v))
	}
	return b
}

func describe(kind byte, name string) pgproto3.FrontendMessage {
	return &pgproto3.Describe{ObjectType: kind, Name: name}
}

func execute(portal string, limit uint32) pgproto3.FrontendMessage {
	return &pgproto3.Execute{Portal: portal, MaxRows: limit}
}

func closing(kind byte, name string) pgproto3.FrontendMessage {
	return &pgproto3.Close{ObjectType: kind, Name: name}
}

func copyData(s string) pgproto3.FrontendMessage { return &pgproto3.CopyData{Data: []byte(s)} }

var (
	syncing  = &pgproto3.Sync{}
	flush    = &pgproto3.Flush{}
	copyDone = &pgproto3.CopyDone{}
)

type script []pgproto3.FrontendMessage

// syncs counts the ReadyForQuery messages that a script asks for.
func (s script) syncs() int {
	n := 0
	for _, m := range s {
		switch m.(type) {
		case *pgproto3.Sync, *pgproto3.Query:
			n++
		}
	}
	return n
}
