package ssh

import (
	"io"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

const (
	// lastHearing is how long an agent that does not read has to hear that what runs is ended.
	lastHearing = time.Second
	// signalGrace is how long what runs has to clean up behind itself.
	signalGrace = 2 * time.Second
)

// interrupt ends what runs, and tells the agent. What runs may not end with its channel, so that it gets signals too; sshd
// has none for subsystems (session.c, session_signal_req), which end with their input.
func (j *job) interrupt(why *refusal, served <-chan struct{}) {
	j.ch.c.ending.RLock()
	defer j.ch.c.ending.RUnlock()
	j.cut.Store(true)
	j.mu.Lock()
	j.told = true
	j.mu.Unlock()
	j.fail(strings.TrimPrefix(why.message, endedPrefix))
	told := make(chan struct{})
	go func() {
		defer close(told)
		j.ch.refuse(why)
	}()
	select {
	case <-told:
	case <-time.After(lastHearing):
	}
	for _, signal := range j.signals() {
		if _, err := j.up.SendRequest("signal", false, ssh.Marshal(struct{ Name string }{string(signal)})); err != nil {
			break
		}
		select {
		case <-served:
		case <-time.After(signalGrace):
			continue
		}
		break
	}
	_ = j.up.Close()
}

// signals end what runs, the last in any case. A shell on a terminal takes no notice of SIGTERM.
func (j *job) signals() []ssh.Signal {
	switch {
	case j.plan.kind == "subsystem":
		return nil
	case j.ch.pty != nil:
		return []ssh.Signal{ssh.SIGHUP, ssh.SIGKILL}
	}
	return []ssh.Signal{ssh.SIGTERM, ssh.SIGKILL}
}

// uncut is the input of what runs, until that is ended.
type uncut struct {
	j  *job
	to io.Writer
}

func (u uncut) Write(p []byte) (int, error) {
	if u.j.cut.Load() {
		return 0, io.ErrClosedPipe
	}
	return u.to.Write(p)
}
