package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// runReader reads the query's result again and again, for about the turn, and does nothing with it but find where
// it ends: what a client makes of its rows is not what is measured.
func runReader(ctx context.Context, c *benchCase, dsn string, turn time.Duration) (sample, int, error) {
	conn, err := pgconn.Connect(ctx, dsn)
	if err != nil {
		return sample{}, 0, err
	}
	taken, err := conn.Hijack()
	if err != nil {
		return sample{}, 0, err
	}
	defer taken.Conn.Close()
	if err := taken.Conn.SetDeadline(time.Now().Add(2 * time.Minute)); err != nil {
		return sample{}, 0, err
	}
	query := binary.BigEndian.AppendUint32([]byte{'Q'}, uint32(4+len(c.query)+1))
	query = append(append(query, c.query...), 0)
	r := reader{conn: taken.Conn, buf: make([]byte, 64<<10), send: c.send}
	if err := r.ask(query); err != nil { // the first one warms up
		return sample{}, 0, err
	}
	var latencies []time.Duration
	begin := time.Now()
	for len(latencies) == 0 || time.Since(begin) < turn {
		start := time.Now()
		if err := r.ask(query); err != nil {
			return sample{}, 0, err
		}
		latencies = append(latencies, time.Since(start))
	}
	s := sample{perSecond: float64(len(latencies)) / time.Since(begin).Seconds()}
	n := len(latencies) + 1
	s.percentiles(latencies)
	return s, n, nil
}

// reader walks the headers of what a server sends.
type reader struct {
	conn net.Conn
	buf  []byte
	send int // bytes of a COPY, when it is asked for
}

// ask sends a query and reads up to its ReadyForQuery.
func (r *reader) ask(query []byte) error {
	if _, err := r.conn.Write(query); err != nil {
		return err
	}
	var (
		head [5]byte
		have int // of head
		skip int // of a body
	)
	for {
		n, err := r.conn.Read(r.buf)
		p := r.buf[:n]
		for len(p) > 0 {
			if skip > 0 {
				k := min(skip, len(p))
				skip, p = skip-k, p[k:]
				if skip == 0 && head[0] == 'Z' {
					return nil
				}
				continue
			}
			k := copy(head[have:], p)
			have, p = have+k, p[k:]
			if have < len(head) {
				break
			}
			have, skip = 0, int(binary.BigEndian.Uint32(head[1:]))-4
			if head[0] == 'G' {
				if err := r.copyIn(); err != nil {
					return err
				}
			}
			if head[0] == 'E' {
				rest, _ := io.ReadAll(io.LimitReader(io.MultiReader(bytes.NewReader(p), r.conn), int64(skip)))
				return fmt.Errorf("the server says %q", rest)
			}
		}
		if err != nil {
			return errors.Join(errors.New("the result did not end"), err)
		}
	}
}

// copyIn sends a COPY's data, in lines of a thousand bytes or so.
func (r *reader) copyIn() error {
	line := append(bytes.Repeat([]byte("some words, 12 of them. "), 42), '\n')
	message := binary.BigEndian.AppendUint32([]byte{'d'}, uint32(4+len(line)))
	message = append(message, line...)
	batch := bytes.Repeat(message, 64)
	for sent := 0; sent < r.send; sent += 64 * len(line) {
		if _, err := r.conn.Write(batch); err != nil {
			return err
		}
	}
	_, err := r.conn.Write([]byte{'c', 0, 0, 0, 4})
	return err
}
