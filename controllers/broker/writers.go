package broker

import (
	"context"
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"k8s.io/apimachinery/pkg/types"
)

// logKey names a log: its own name is the sidecar's choice, the pod's uid is not.
type logKey struct {
	pod types.UID
	log string
}

// writers lets one stream at a time write a log.
type writers struct {
	mu     sync.Mutex // guards active
	active map[logKey]*writer
}

type writer struct {
	cancel context.CancelCauseFunc
	gone   chan struct{}
}

// enter ends the stream that writes the log now and waits until it is out of the way.
func (w *writers) enter(ctx context.Context, key logKey, cancel context.CancelCauseFunc) (leave func(), err error) {
	me := &writer{cancel: cancel, gone: make(chan struct{})}
	for {
		w.mu.Lock()
		other := w.active[key]
		if other == nil {
			w.active[key] = me
			w.mu.Unlock()
			return func() {
				w.mu.Lock()
				delete(w.active, key)
				w.mu.Unlock()
				close(me.gone)
			}, nil
		}
		w.mu.Unlock()
		other.cancel(status.Error(codes.Aborted, "the log was opened again on another connection"))
		select {
		case <-other.gone:
		case <-ctx.Done():
			return nil, status.FromContextError(ctx.Err()).Err()
		}
	}
}
