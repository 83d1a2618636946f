package script

import (
	"context"
	"io"
	"os"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/chaperone-dev/chaperone/sidecar/script/wire"
)

// packet writes a message.
func packet(t testing.TB, m wire.Message) string {
	t.Helper()
	b, err := wire.Append(nil, m)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// says has the sidecar serve a program that says these packets and is gone.
func says(t testing.TB, packets ...string) (uint8, error) {
	t.Helper()
	ours, theirs, err := socket()
	if err != nil {
		t.Fatal(err)
	}
	defer ours.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	fd := int(theirs.Fd())
	if err := syscall.SetNonblock(fd, true); err != nil {
		t.Fatal(err)
	}
	written := make(chan struct{})
	defer func() {
		cancel()
		<-written
		theirs.Close()
	}()
	go func() {
		defer close(written)
		defer func() { _ = syscall.Shutdown(fd, syscall.SHUT_WR) }()
		for _, p := range packets {
			for {
				_, err := syscall.Write(fd, []byte(p))
				if err != syscall.EAGAIN || ctx.Err() != nil {
					break
				}
				time.Sleep(time.Millisecond)
			}
		}
	}()
	var running atomic.Int32
	s := &served{socket: ours, runner: func(ctx context.Context, c Command, start func() (*Pipes, error)) uint8 {
		if running.Add(1) > wire.MaxCommands || len(c.Argv) == 0 {
			t.Errorf("asked to run %q", c)
		}
		defer running.Add(-1)
		p, err := start()
		if err != nil {
			return 255
		}
		defer p.Close()
		stop := context.AfterFunc(ctx, p.Close)
		defer stop()
		_, _ = io.Copy(p.Stdout, p.Stdin)
		return 0
	}}
	status, err := s.serve(ctx, "")
	if ctx.Err() != nil {
		t.Error("it did not end")
	}
	return status, err
}

func TestAProgramThatSaysWhatItMustNotIsNotServed(t *testing.T) {
	run := func(number uint32) string {
		return packet(t, wire.Message{Kind: wire.Run, Number: number, Words: []string{"ls"}})
	}
	var many []string
	for i := range uint32(wire.MaxCommands + 1) {
		many = append(many, run(i+1))
	}
	for name, packets := range map[string][]string{
		"no message":                   {"?"},
		"a message of ours":            {packet(t, wire.Message{Kind: wire.Status, Number: 1})},
		"a number twice":               {run(1), run(1)},
		"numbers that fall":            {run(2), run(1)},
		"more commands than it may":    many,
		"a message that is cut":        {packet(t, wire.Message{Kind: wire.Run, Number: 1, Words: []string{string(make([]byte, 0))}}) + string(make([]byte, wire.MaxMessage))},
		"the same behind what is fine": {run(1), run(2), "R"},
	} {
		if status, err := says(t, packets...); err != errBroken { //nolint:errorlint // that one
			t.Errorf("%s: status %d, %v", name, status, err)
		}
	}
	if _, err := says(t, run(1)); err != errGone { //nolint:errorlint // that one
		t.Errorf("an end without a word: %v", err)
	}
	if status, err := says(t, run(1), packet(t, wire.Message{Kind: wire.Done, Code: 7})); err != nil || status != 7 {
		t.Errorf("the end: status %d, %v", status, err)
	}
}

// FuzzServe has the sidecar serve a program that says anything.
func FuzzServe(f *testing.F) {
	run := packet(f, wire.Message{Kind: wire.Run, Number: 1, Words: []string{"ls", "-l"}})
	f.Add([]byte(run), []byte(packet(f, wire.Message{Kind: wire.Done})))
	f.Add([]byte(run), []byte(run))
	f.Add([]byte(packet(f, wire.Message{Kind: wire.Refused, Text: "no"})), []byte("X"))
	before := descriptors(f)
	f.Fuzz(func(t *testing.T, one, two []byte) {
		if len(one) == 0 || len(two) == 0 {
			return // no packet is empty
		}
		_, _ = says(t, string(one), string(two))
		if n := descriptors(t); n > before+64 {
			t.Errorf("%d descriptors are open, %d were", n, before)
		}
	})
}

func descriptors(t testing.TB) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}
