package postgres

import (
	"context"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/test/postgresserver"
)

// peers are the ways to the database that are compared, without TLS on any leg so that the difference is ours.
func peers(b *testing.B) map[string]string {
	plain := allowAll()
	plain.TLSMode, plain.CAPEM = policy.TLSDisable, nil
	full := masked(policy.MaskRedact)
	full.TLSMode, full.CAPEM = policy.TLSDisable, nil
	full.Rules = []policy.Rule{{Name: "no-drop", Match: policy.Match{Commands: []string{"DROP"}}, Action: policy.Deny}}
	return map[string]string{
		"direct":   server.DSN("agent", agentPassword, "app"),
		"relay":    relay(b),
		"allowing": newSidecar(b, plain).dsn(""),
		"masking":  newSidecar(b, full).dsn(""),
	}
}

// relay copies bytes over TCP, the least that any proxy does.
func relay(b *testing.B) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { l.Close() })
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", server.Address())
			if err != nil {
				in.Close()
				return
			}
			go func() { defer out.Close(); copyPlain(out, in) }()
			go func() { defer in.Close(); copyPlain(in, out) }()
		}
	}()
	s := postgresserver.Server{Port: l.Addr().(*net.TCPAddr).Port}
	return s.DSN("agent", agentPassword, "app")
}

// copyPlain reads and writes 64 KiB at a time, without the kernel's help.
func copyPlain(to, from net.Conn) {
	_, _ = io.CopyBuffer(struct{ io.Writer }{to}, struct{ io.Reader }{from}, make([]byte, 64<<10))
}

// processor reports what this process, client and sidecar both, used of the processor: on a busy machine it says
// more than the time does. The client's share is what "direct" uses.
func processor(b *testing.B) func() {
	used := func() time.Duration {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	before := used()
	return func() {
		b.ReportMetric(float64((used()-before).Microseconds())/float64(b.N), "cpu-µs/op")
	}
}

func dial(b *testing.B, dsn string) *pgconn.PgConn {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	conn, err := pgconn.Connect(ctx, dsn)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

func BenchmarkSimple(b *testing.B) {
	for name, dsn := range peers(b) {
		b.Run(name, func(b *testing.B) {
			conn := dial(b, dsn)
			defer processor(b)()
			for b.Loop() {
				if _, err := conn.Exec(context.Background(), "SELECT name FROM customers WHERE id = 1").ReadAll(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkPrepared(b *testing.B) {
	for name, dsn := range peers(b) {
		b.Run(name, func(b *testing.B) {
			conn := dial(b, dsn)
			ctx := context.Background()
			if _, err := conn.Prepare(ctx, "s", "SELECT name FROM customers WHERE id = $1", nil); err != nil {
				b.Fatal(err)
			}
			defer processor(b)()
			for b.Loop() {
				if r := conn.ExecPrepared(ctx, "s", [][]byte{[]byte("1")}, nil, nil).Read(); r.Err != nil {
					b.Fatal(r.Err)
				}
			}
		})
	}
}

func BenchmarkBulk(b *testing.B) {
	const rowsRead = 200_000
	for name, dsn := range peers(b) {
		b.Run(name, func(b *testing.B) {
			conn := dial(b, dsn)
			ctx := context.Background()
			b.SetBytes(rowsRead * 60)
			defer processor(b)()
			for b.Loop() {
				results := conn.Exec(ctx, "SELECT g, 'a text of about forty characters, or so' AS t FROM generate_series(1, 200000) g")
				n := 0
				for results.NextResult() {
					for r := results.ResultReader(); r.NextRow(); {
						n++
					}
				}
				if err := results.Close(); err != nil || n != rowsRead {
					b.Fatal(n, err)
				}
			}
		})
	}
}

func BenchmarkConnect(b *testing.B) {
	for name, dsn := range peers(b) {
		b.Run(name, func(b *testing.B) {
			defer processor(b)()
			for b.Loop() {
				conn, err := pgconn.Connect(context.Background(), dsn)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := conn.Exec(context.Background(), "SELECT 1").ReadAll(); err != nil {
					b.Fatal(err)
				}
				conn.Close(context.Background())
			}
		})
	}
}
