package kube

import "time"

// attend ends the relay once the agent is gone while the API server takes nothing: as long as that is so, the agent is not
// read from, and its end would not be seen. The function that is returned ends the watch.
func (r *relay) attend() (stop func()) {
	ticker, over := time.NewTicker(r.x.opts.WriteTimeout), make(chan struct{})
	go func() {
		defer ticker.Stop()
		for last := uint64(0); ; {
			select {
			case <-over:
				return
			case <-ticker.C:
			}
			now := r.up.writes.Load()
			if now%2 == 1 && now == last && gone(r.x.session.Agent) {
				r.cut(errAgentGone)
				return
			}
			last = now
		}
	}()
	return func() { close(over) }
}
