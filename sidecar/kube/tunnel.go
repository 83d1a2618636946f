package kube

import (
	"bufio"
	"errors"
	"io"
	"sync"

	"github.com/chaperone-dev/chaperone/sidecar/kube/websocket"
)

// tunnel carries a stream of bytes in the binary messages of a WebSocket.
type tunnel struct {
	*socket
	r    *bufio.Reader
	open bool // a message is being read

	mu      sync.Mutex // guards scratch
	scratch []byte
}

func newTunnel(s *socket) *tunnel {
	t := &tunnel{socket: s}
	t.r = bufio.NewReaderSize(t, 4<<10)
	return t
}

func (t *tunnel) reader() *bufio.Reader { return t.r }

// Read implements io.Reader.
func (t *tunnel) Read(p []byte) (int, error) {
	for {
		if !t.open {
			if err := t.begin(); err != nil {
				return 0, err
			}
			t.open = true
		}
		n, err := message{t.socket}.Read(p)
		if n > 0 || !errors.Is(err, io.EOF) {
			return n, err
		}
		t.open = false
	}
}

// build sends what is appended, in one message.
func (t *tunnel) build(appending func(dst []byte) ([]byte, error)) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	var err error
	if t.scratch, err = appending(t.scratch[:0]); err != nil {
		return err
	}
	return t.frame(websocket.Binary, t.scratch)
}
