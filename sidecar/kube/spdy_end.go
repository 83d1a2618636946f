package kube

import (
	"bufio"

	"github.com/chaperone-dev/chaperone/sidecar/kube/spdy"
)

// carrier is what SPDY is spoken over: a connection, or a tunnel in a WebSocket.
type carrier interface {
	reader() *bufio.Reader
	// build sends what is appended, in one write. It calls appending once, and one call at a time.
	build(appending func(dst []byte) ([]byte, error)) error
}

func (e *end) reader() *bufio.Reader { return e.r }

// spdyEnd is one end that speaks SPDY.
type spdyEnd struct {
	carrier
	frames *spdy.Reader
	writer spdy.Writer // the carrier orders its use
}

func newSPDYEnd(over carrier) *spdyEnd {
	return &spdyEnd{carrier: over, frames: spdy.NewReader(over.reader())}
}

// data sends what a stream has next.
func (s *spdyEnd) data(stream uint32, fin bool, payload []byte) error {
	return s.build(func(dst []byte) ([]byte, error) { return spdy.AppendData(dst, stream, fin, payload), nil })
}

// frame sends a frame that is not data.
func (s *spdyEnd) frame(f *spdy.Frame) error {
	return s.build(func(dst []byte) ([]byte, error) { return s.writer.Append(dst, f) })
}
