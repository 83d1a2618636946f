package ssh

import (
	"context"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/chaperone-dev/chaperone/sidecar/record"
	"github.com/chaperone-dev/chaperone/sidecar/stream"
)

// job is a command, shell or subsystem that runs on the target.
type job struct {
	ch      *channel
	up      ssh.Channel
	number  uint64
	plan    plan
	outputs map[string]*stream.Output // by their names
	cut     atomic.Bool               // it is being ended, and gets no more input

	mu     sync.Mutex // guards what follows
	tag    string     // how it ended
	failed string
	told   bool // the agent was, of why it failed
}

func (ch *channel) newJob(up ssh.Channel, number uint64, p plan) *job {
	return &job{ch: ch, up: up, number: number, plan: p, outputs: make(map[string]*stream.Output)}
}

// begin opens the recording of a terminal, where there is one, and lets what the agent asks meanwhile through.
func (j *job) begin() error {
	ch := j.ch
	recorder := ch.c.session.Recorder
	limit := int64(stream.MaxRecorded)
	var term *terminal
	if ch.pty != nil && j.plan.kind != "subsystem" {
		var err error
		if term, err = ch.newTerminal(j.plan); err != nil {
			return unrecorded(err)
		}
		recorder, limit = term.recorder, 0
	}
	number := j.number
	if term != nil {
		number = 0 // the terminal's log has no other
	}
	for name, to := range map[string]io.Writer{"stdout": ch.agent, "stderr": ch.agent.Stderr()} {
		if name == "stdout" && j.plan.sftp() {
			continue // files, which are recorded one by one
		}
		j.outputs[name] = stream.New(to, ch.c.detectors, recorder, name, number, limit)
	}
	ch.mu.Lock()
	defer ch.mu.Unlock()
	ch.term = term
	return nil
}

// discard ends what begin began for a job that does not run.
func (j *job) discard() {
	j.ch.mu.Lock()
	term := j.ch.term
	j.ch.mu.Unlock()
	if term != nil {
		term.close("")
	}
}

// eofGrace is how long the end of a target's output is not handed on where its channel may end with it.
const eofGrace = 50 * time.Millisecond

// run hands on what both sides send until the target has closed its channel. It ends what is not allowed any more.
func (j *job) run(allowed context.Context, served <-chan struct{}) {
	ch := j.ch
	ch.mu.Lock()
	ch.up = j.up
	for _, s := range ch.pending {
		if s.kind == "window-change" && ch.term != nil {
			ch.term.resize(s.payload)
		}
		_, _ = j.up.SendRequest(s.kind, false, s.payload)
	}
	ch.pending = nil
	ch.mu.Unlock()

	input := make(chan struct{})
	if !j.plan.sftp() {
		go func() {
			defer close(input)
			var to io.Writer = j.up
			if ch.pty != nil {
				to = typed{ch, j.up}
			}
			_, _ = stream.Copy(uncut{j, to}, ch.agent)
			_ = j.up.CloseWrite()
		}()
	}
	// An agent that closes its channel waits for nothing more: the target's is closed as soon as it has the input.
	gone := make(chan struct{})
	go func() {
		select {
		case <-allowed.Done():
			if ended := interruption(allowed); ended != nil {
				j.interrupt(ended, served)
				return
			}
			select {
			case <-input:
			case <-time.After(closeGrace):
			case <-served:
			}
			_ = j.up.Close()
		case <-ch.c.over:
			j.interrupt(asRefusal(ch.c.overCause), served)
		case <-gone:
		}
	}()

	var copying sync.WaitGroup
	if j.plan.sftp() {
		copying.Go(j.files)
	}
	for name, from := range map[string]io.Reader{"stdout": j.up, "stderr": j.up.Stderr()} {
		if j.outputs[name] == nil {
			continue
		}
		copying.Go(func() {
			if err := j.outputs[name].Copy(from); err != nil {
				j.fail(err.Error())
				// What is not recorded is not shown.
				_ = j.up.Close()
			}
		})
	}
	copying.Wait()
	// A target that is gone has ended everything at once, and the agent is told so on a standard error that is still
	// open. One that has ended its output alone may go on for long.
	select {
	case <-served:
	case <-time.After(eofGrace):
		select {
		case <-input:
			// An agent that has ended its input may close its channel at the end of the output (OpenSSH does for a
			// connection that is shared), and x/crypto/ssh answers that at once: exit-status would come too late.
		default:
			_ = ch.agent.CloseWrite()
		}
		<-served // exit-status comes last
	}
	close(gone)
	_ = j.up.Close()
	j.finish()
}

// upstreamRequests hands on what the target says of the end, until it closes its channel.
func (j *job) upstreamRequests(requests <-chan *ssh.Request) {
	for r := range requests {
		switch r.Type {
		case "exit-status":
			var m struct{ Status uint32 }
			if ssh.Unmarshal(r.Payload, &m) == nil {
				j.ended(fmt.Sprintf("exit status %d", m.Status))
				j.pass(r)
			}
		case "exit-signal":
			var m struct {
				Signal  string
				Core    bool
				Message string
				Lang    string
			}
			if ssh.Unmarshal(r.Payload, &m) == nil {
				j.ended("signal " + m.Signal)
				m.Message, _ = j.ch.c.masking().Text(m.Message, 1<<10)
				r.Payload = ssh.Marshal(m)
				j.pass(r)
			}
		case "eow@openssh.com", "xon-xoff":
			j.pass(r)
		case "keepalive@openssh.com":
			if r.WantReply {
				_ = r.Reply(true, nil)
			}
			continue
		}
		if r.WantReply {
			_ = r.Reply(false, nil)
		}
	}
}

// pass hands a request of the target on. exit-status may come before the last of the output has been handed on, which
// is of no consequence: only the channel's end ends a command.
func (j *job) pass(r *ssh.Request) { _, _ = j.ch.agent.SendRequest(r.Type, false, r.Payload) }

func (j *job) ended(how string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.tag = how
}

func (j *job) fail(why string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.failed == "" {
		j.failed = why
	}
}

// finish tells the agent of an end without one, and records the result.
func (j *job) finish() {
	ch := j.ch
	j.mu.Lock()
	tag, failed, told := j.tag, j.failed, j.told
	j.mu.Unlock()
	switch {
	case told:
	case failed != "":
		ch.say((&refusal{message: failed}).text())
	case tag == "" && ch.ctx.Err() == nil:
		failed = "it ended without a status"
		select {
		case <-ch.c.upstream.gone:
			failed = ch.c.upstream.err.Error()
			ch.say((&refusal{message: failed}).text())
		case <-time.After(lossGrace): // the connection's end is noticed a moment after its channels'
		}
	case tag == "" && ch.c.ctx.Err() == nil:
		failed = "the agent closed its session"
	case tag == "":
		failed = "the connection ended"
	}
	if tag == "" && failed != "" && !told && ch.ctx.Err() == nil {
		ch.exit(statusFailed)
	}
	e := record.Event{Kind: record.KindResult, Command: j.number, Tag: tag, Error: failed}
	for _, o := range j.outputs {
		shown, masked := o.Counts()
		e.Bytes += shown
		e.Masked += int64(masked)
	}
	_ = ch.c.record(e)
	j.ch.mu.Lock()
	term := j.ch.term
	j.ch.mu.Unlock()
	if term != nil {
		term.close(failed)
	}
	_ = ch.agent.CloseWrite()
	_ = ch.agent.Close()
}
