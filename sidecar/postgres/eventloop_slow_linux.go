package postgres

import (
	"context"

	"github.com/chaperone-dev/chaperone/sidecar/postgres/wire"
	"github.com/chaperone-dev/chaperone/sidecar/session"
)

// apart has a goroutine do what takes long with the core.
func (s *looped) apart(f func()) {
	s.elsewhere = true
	s.interests()
	s.slow.Go(func() {
		s.guard(f)
		s.post(func() {
			s.elsewhere = false
			if s.over {
				return
			}
			if s.cause == nil { // else what was judged meanwhile is not sent any more
				s.toSend()
			}
			s.resume()
		})
	})
}

// goOn has the core go on with what it kept while it waited, in the loop where that is soon done.
func (s *looped) goOn(f func()) {
	if s.core.HeavyResume() {
		s.apart(f)
		return
	}
	f()
}

// back does f in the loop when it may use the core.
func (s *looped) back(f func()) {
	s.post(func() {
		if s.over {
			return
		}
		s.after = append(s.after, f)
		if s.begun && !s.elsewhere {
			s.resume()
		}
	})
}

// flushRecords waits until the operator has what was recorded.
func (s *looped) flushRecords() {
	if s.flushing {
		return
	}
	s.flushing = true
	limit := s.opts.FlushTimeout
	if s.core.Refusing() {
		limit = min(limit, refusalFlush)
	}
	s.slow.Go(func() {
		ctx, cancel := context.WithTimeout(s.context, limit)
		err := s.session.Recorder.Flush(ctx)
		cancel()
		s.back(func() {
			s.flushing = false
			s.goOn(func() { s.core.Flushed(err) })
		})
	})
}

// approve asks people about the command that the core holds. Meanwhile the loop watches whether the agent cancels or
// hangs up.
func (s *looped) approve() {
	if s.asking {
		return
	}
	s.asking = true
	ask := s.core.Ask()
	ctx, stop := context.WithCancel(s.context)
	s.stop, s.stopped = stop, false
	s.slow.Go(func() {
		defer stop()
		grant, err := s.session.Approvals.Await(ctx, ask, func(request string) { s.back(func() { s.core.Noted(request) }) })
		s.back(func() { s.decided(grant, err) })
	})
}

func (s *looped) decided(grant *session.Grant, err error) {
	s.asking, s.stop = false, nil
	switch {
	case s.hungUp:
		err = errAgentGone
	case s.stopped:
		err = wire.ErrCancelled
	}
	if err != nil {
		grant = nil
	}
	s.goOn(func() { s.core.Decided(grant, err) })
	switch {
	case !s.hungUp:
	case s.elsewhere:
		s.after = append(s.after, func() { s.endOnce(nil) })
	default:
		s.endOnce(nil)
	}
}

// cancelUpstream asks the server to cancel what it runs, and calls sent when it has been asked.
func (s *looped) cancelUpstream(sent func()) {
	s.core.Cancel()
	s.slow.Go(func() {
		if err := s.up.cancel(s.context); err != nil {
			s.session.Log.Info("a statement could not be cancelled", "error", err.Error())
		}
		s.back(func() { s.goOn(s.core.Cancelled) })
		sent()
	})
}

// cancelled does what the agent's CancelRequest asks for, and returns when that has been done: whoever sent it may go
// on then.
func (s *looped) cancelled() {
	asked := make(chan struct{})
	s.back(func() {
		if s.asking {
			s.stopped = true
			s.stop()
			close(asked)
			return
		}
		s.cancelUpstream(func() { close(asked) })
	})
	select {
	case <-asked:
	case <-s.done:
	}
}
