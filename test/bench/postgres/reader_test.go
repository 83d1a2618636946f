package main

import (
	"io"
	"net"
	"strings"
	"testing"
	"testing/iotest"
)

// served is a connection to a server that says one thing.
type served struct {
	net.Conn
	io.Reader
}

func (served) Write(p []byte) (int, error) { return len(p), nil }

func (s served) Read(p []byte) (int, error) { return s.Reader.Read(p) }

func TestReader(t *testing.T) {
	const row, ready = "D\x00\x00\x00\x0b\x00\x01\x00\x00\x00\x01x", "Z\x00\x00\x00\x05I"
	tests := map[string]struct {
		sent string
		err  string
	}{
		"a result ends with ReadyForQuery":               {row + row + ready, ""},
		"a connection that ends before is an error":      {row, "did not end"},
		"an error of the server's is one":                {row + "E\x00\x00\x00\x0aSERROR" + ready, "the server says"},
		"what looks like the end inside a row is not it": {"D\x00\x00\x00\x0a" + ready, "did not end"},
	}
	for name, tc := range tests {
		for how, conn := range map[string]io.Reader{"at once": strings.NewReader(tc.sent), "byte by byte": iotest.OneByteReader(strings.NewReader(tc.sent))} {
			t.Run(name+", "+how, func(t *testing.T) {
				r := reader{conn: served{Reader: conn}, buf: make([]byte, 64)}
				err := r.ask(nil)
				if tc.err == "" && err != nil || tc.err != "" && (err == nil || !strings.Contains(err.Error(), tc.err)) {
					t.Errorf("got %v, want %q", err, tc.err)
				}
			})
		}
	}
}
