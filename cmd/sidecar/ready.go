package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/chaperone-dev/chaperone/sidecar/layout"
)

// readySocket is where run answers once it is ready. A socket and not a file: it does not outlive the process
// that could judge. No other container mounts the folder.
func readySocket() string { return filepath.Join(layout.StatePath, "ready.sock") }

// askReady is the startup probe. It opens no port: a probe over the network would be one that agents reach too.
func askReady(ctx context.Context) error {
	conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "unix", readySocket())
	if err != nil {
		return fmt.Errorf("not ready: %w", err)
	}
	return conn.Close()
}

// sayReady answers askReady until ctx ends.
func sayReady(ctx context.Context) error {
	if err := os.Remove(readySocket()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("answering the startup probe: %w", err)
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "unix", readySocket())
	if err != nil {
		return fmt.Errorf("answering the startup probe: %w", err)
	}
	defer context.AfterFunc(ctx, func() { listener.Close() })()
	for {
		conn, err := listener.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("answering the startup probe: %w", err)
		}
		conn.Close()
	}
}
