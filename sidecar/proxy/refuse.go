package proxy

import (
	"fmt"
	"sync"
	"time"

	"github.com/chaperone-dev/chaperone/sidecar/record"
)

const (
	// repeatPeriod is how long the same refusal is only counted: an agent that tries again and again must not fill
	// the recording, where a refused command counts as much as one that ran.
	repeatPeriod = 10 * time.Second
	// maxRepeats bounds how many refusals are told apart meanwhile.
	maxRepeats = 256
)

// journal counts refusals that repeat. Its zero value is ready.
type journal struct {
	mu   sync.Mutex // guards seen
	seen map[string]*repeat
}

type repeat struct {
	since time.Time
	more  int
}

// note tells whether to record a refusal now, and how many like it were only counted before.
func (j *journal) note(what string, now time.Time) (more int, tell bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if r := j.seen[what]; r != nil {
		if now.Sub(r.since) < repeatPeriod {
			r.more++
			return 0, false
		}
		more = r.more
	}
	if j.seen == nil {
		j.seen = make(map[string]*repeat)
	}
	for old := range j.seen {
		if len(j.seen) < maxRepeats {
			break
		}
		delete(j.seen, old)
	}
	j.seen[what] = &repeat{since: now}
	return more, true
}

// refuse ends a connection that may not be, records it and says so in the log.
func (p *Proxy) refuse(c *connection) {
	defer reset(c.agent)
	v := c.route.verdict
	more, tell := p.refused.note(c.to.String()+" "+v.Message, time.Now())
	if !tell {
		return
	}
	message := v.Message
	if more > 0 {
		message = fmt.Sprintf("%s (and %d times more before)", message, more)
	}
	p.complain(c, nil)
	if v.Rule == ruleNoPolicy {
		// There is no policy that says how to record.
		return
	}
	recorder, err := p.egressRecorder(c, message)
	if err != nil {
		// It is refused anyway.
		return
	}
	_ = recorder.Record(record.Event{Kind: record.KindDisconnect, Error: "refused"})
	_ = recorder.Close()
}

func (p *Proxy) complain(c *connection, err error) {
	v := c.route.verdict
	values := []any{"destination", c.to.String(), "name", c.route.asked, "policy", v.Policy, "rule", v.Rule, "reason", v.Message}
	if err != nil {
		values = append(values, "error", err.Error())
	}
	p.Log.Info("A connection was refused", values...)
}
