package postgres

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
)

// most is how much the heap grows at most while a thing is carried that is many times as large: the buffers of both sides
// (the longest row that is held whole has 8 MiB), and as much again until the next collection.
const most = 48 << 20

// flat fails if the heap grows by more than most while run runs.
func flat(t *testing.T, run func()) {
	t.Helper()
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapInuse
	}
	runtime.GC()
	before, peak := heap(), uint64(0)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			peak = max(peak, heap())
			select {
			case <-stop:
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	}()
	run()
	close(stop)
	<-stopped
	if peak > before+most {
		t.Errorf("the heap grew by %d MiB", (peak-before)>>20)
	}
}

// TestLargeThingsPassInLittleMemory carries what is far larger than the memory of a sidecar; the client and the server here
// keep nothing of it.
func TestLargeThingsPassInLittleMemory(t *testing.T) {
	const (
		row  = 100 << 20
		bulk = 256 << 20 // the benchmark has 1 GiB
		line = 1 << 10
	)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	for name, pg := range map[string]policy.Postgres{"nothing masked": allowAll(), "detectors and masked columns": masked(policy.MaskRedact)} {
		conn := newSidecar(t, pg).connect(t, "")
		rows(t, conn, "CREATE TEMP TABLE sink (body text)")
		t.Run("a row of 100 MiB, "+name, func(t *testing.T) {
			k := talk(t, newSidecar(t, pg).connect(t, ""))
			flat(t, func() {
				k.send(q(fmt.Sprintf("SELECT repeat('%s', %d)", strings.Repeat("some words ", 93)+"x", row>>10)))
				k.conn.SetReadDeadline(time.Now().Add(5 * time.Minute))
				if got, ready := consume(t, k.conn); got < row || !ready {
					t.Errorf("%d bytes, ready: %v", got, ready)
				}
			})
		})
		t.Run("a value of 100 MiB that is bound, "+name, func(t *testing.T) {
			k := talk(t, newSidecar(t, pg).connect(t, ""))
			k.send(parse("", "SELECT length($1::text)"))
			head, err := bind("", "", "").Encode(nil)
			if err != nil {
				t.Fatal(err)
			}
			// The value's length is the last but that of the results' formats; the message's is its second field.
			binary.BigEndian.PutUint32(head[1:], uint32(len(head)-1+row))
			binary.BigEndian.PutUint32(head[len(head)-6:], row)
			k.conn.SetDeadline(time.Now().Add(5 * time.Minute))
			flat(t, func() {
				if _, err := k.conn.Write(head[:len(head)-2]); err != nil {
					t.Fatal(err)
				}
				if _, err := io.CopyBuffer(struct{ io.Writer }{k.conn}, io.LimitReader(lines{}, row), make([]byte, 64<<10)); err != nil {
					t.Fatal(err)
				}
				if _, err := k.conn.Write(head[len(head)-2:]); err != nil {
					t.Fatal(err)
				}
				k.send(execute("", 0), syncing)
				if got := k.until("Z", 1); got != fmt.Sprintf("1 2 D(%d) C(SELECT 1) Z(I)", row) {
					t.Error(got)
				}
			})
		})
		t.Run("COPY of 256 MiB out, "+name, func(t *testing.T) {
			counted := &counter{}
			flat(t, func() {
				tag, err := conn.CopyTo(ctx, counted, fmt.Sprintf("COPY (SELECT repeat('x', %d) FROM generate_series(1, %d)) TO STDOUT", line-1, bulk/line))
				if err != nil || tag.RowsAffected() != bulk/line || counted.n != bulk {
					t.Errorf("%s, %d bytes, %v", tag, counted.n, err)
				}
			})
		})
		t.Run("COPY of 256 MiB in, "+name, func(t *testing.T) {
			flat(t, func() {
				// The server reads it all and keeps nothing.
				tag, err := conn.CopyFrom(ctx, io.LimitReader(lines{}, bulk), "COPY sink FROM STDIN WHERE body = ''")
				if err != nil || tag.RowsAffected() != 0 {
					t.Errorf("%s, %v", tag, err)
				}
			})
		})
	}
}

type counter struct{ n int64 }

func (c *counter) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return len(p), nil
}

// lines never ends; each line has 1 KiB.
type lines struct{}

var manyLines = bytes.Repeat(append(bytes.Repeat([]byte("y"), 1<<10-1), '\n'), 64)

func (lines) Read(p []byte) (int, error) {
	n := 0
	for n+len(manyLines) <= len(p) {
		n += copy(p[n:], manyLines)
	}
	if n == 0 {
		n = copy(p, manyLines[:len(p)&^(1<<10-1)])
	}
	return n, nil
}

// consume reads up to ReadyForQuery and keeps nothing but the last bytes.
func consume(t *testing.T, r io.Reader) (n int, ready bool) {
	t.Helper()
	ending := []byte("Z\x00\x00\x00\x05I")
	buf := make([]byte, 64<<10)
	var last []byte
	for {
		m, err := r.Read(buf)
		n += m
		last = append(last, buf[max(0, m-len(ending)):m]...)
		last = last[max(0, len(last)-len(ending)):]
		if bytes.Equal(last, ending) {
			return n, true
		}
		if err != nil {
			if !errors.Is(err, io.EOF) {
				t.Error(err)
			}
			return n, false
		}
	}
}
