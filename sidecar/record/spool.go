package record

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
)

// Options are what a Spool works with.
type Options struct {
	// Dir is the spool's directory; it is made if it is missing. Nothing else may use it.
	Dir string
	// Budget is how many bytes the spool may take of its volume, counted in blocks as the kubelet counts them.
	Budget int64
	Uplink Uplink
	Log    logr.Logger
	// Now defaults to time.Now.
	Now func() time.Time
}

// Spool keeps the logs of a pod until the operator has them: on a volume of limited size, so that neither a lost
// operator nor a restart of the sidecar loses what was recorded.
type Spool struct {
	options Options
	period  time.Duration // after which a log is followed by the next
	used    atomic.Int64
	trouble atomic.Pointer[error] // what the operator answered last, while it does not take logs

	running context.Context
	stop    context.CancelFunc
	senders sync.WaitGroup

	opening sync.Mutex // guards logs and closed
	logs    map[string]*Log
	closed  bool
}

// Open opens the spool, cuts off what a previous life of the sidecar left unfinished, closes those logs as
// truncated and begins to send them.
func Open(options Options) (*Spool, error) {
	if options.Now == nil {
		options.Now = time.Now
	}
	if err := os.MkdirAll(options.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the recording spool: %w", err)
	}
	running, stop := context.WithCancel(context.Background())
	s := &Spool{options: options, period: time.Hour, running: running, stop: stop, logs: map[string]*Log{}}
	chains, err := s.recover()
	if err != nil {
		stop()
		return nil, err
	}
	for _, c := range chains {
		s.start(c)
	}
	return s, nil
}

// Log returns the log of a target, of which a pod has one at a time, whatever the number of connections; an
// interactive terminal always gets a log of its own. The options of a known target replace the ones before: they
// hold from the next hour on, but for OnFailure, which holds at once.
func (s *Spool) Log(options LogOptions) *Log {
	s.opening.Lock()
	defer s.opening.Unlock()
	if l := s.logs[options.Target]; l != nil && !options.Terminal {
		l.set(options)
		return l
	}
	l := &Log{spool: s}
	l.set(options)
	l.closed = s.closed
	key := options.Target
	if options.Terminal {
		key = fmt.Sprintf("%s %p", key, l)
	}
	l.key = key
	s.logs[key] = l
	return l
}

func (s *Spool) forget(l *Log) {
	s.opening.Lock()
	defer s.opening.Unlock()
	if s.logs[l.key] == l {
		delete(s.logs, l.key)
	}
}

// Close closes all logs and waits until the operator has them, or until ctx ends; what it does not have then stays
// in the spool for the sidecar's next life. Nothing is recorded after.
func (s *Spool) Close(ctx context.Context) error {
	s.opening.Lock()
	s.closed = true
	logs := make([]*Log, 0, len(s.logs))
	for _, l := range s.logs {
		logs = append(logs, l)
	}
	s.opening.Unlock()
	var failures []error
	for _, l := range logs {
		failures = append(failures, l.close())
	}
	sent := make(chan struct{})
	go func() {
		s.senders.Wait()
		close(sent)
	}()
	select {
	case <-sent:
	case <-ctx.Done():
		failures = append(failures, fmt.Errorf("sending the recordings: %w", s.explain(ctx.Err())))
	}
	s.stop()
	<-sent
	return errors.Join(failures...)
}

// Used is how many bytes the spool holds or has promised, and what the operator answered last if it does not take
// them.
func (s *Spool) Used() (bytes int64, trouble error) {
	if t := s.trouble.Load(); t != nil {
		trouble = *t
	}
	return s.used.Load(), trouble
}

// explain adds to an error what keeps the operator from taking logs.
func (s *Spool) explain(err error) error {
	if t := s.trouble.Load(); t != nil {
		return fmt.Errorf("%w; the operator's last answer: %w", err, *t)
	}
	return err
}

// take reserves room; give returns it.
func (s *Spool) take(n int64) bool {
	for {
		used := s.used.Load()
		if used+n > s.options.Budget {
			return false
		}
		if s.used.CompareAndSwap(used, used+n) {
			return true
		}
	}
}

func (s *Spool) give(n int64) { s.used.Add(-n) }

// block is what a small file takes of a volume.
const block = 4 << 10

func blocks(n int) int64 { return int64(n+block-1) / block * block }

func (s *Spool) start(c *chain) {
	s.senders.Add(1)
	go func() {
		defer s.senders.Done()
		c.send(s.running)
	}()
}
