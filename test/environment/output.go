package environment

import (
	"bytes"
	"io"
	"sync"
)

// lockedBuffer takes the writes of both streams of a command.
type lockedBuffer struct {
	bufferMu sync.Mutex // guards buffer: os/exec copies stdout and stderr in two goroutines
	buffer   bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.bufferMu.Lock()
	defer b.bufferMu.Unlock()
	return b.buffer.Write(p)
}

func (b *lockedBuffer) String() string {
	b.bufferMu.Lock()
	defer b.bufferMu.Unlock()
	return b.buffer.String()
}

// writers writes to each of its members.
type writers []io.Writer

func (w writers) Write(p []byte) (int, error) {
	for _, one := range w {
		if n, err := one.Write(p); err != nil {
			return n, err
		}
	}
	return len(p), nil
}
