package ssh

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

// execution is one command of a script, on the target.
type execution struct {
	up    ssh.Channel
	ended chan struct{} // closed once the target has closed its channel

	mu     sync.Mutex // guards what follows
	status uint8
	tag    string
	piped  bool // nobody took what it printed
	cut    bool // it is being ended, and its channel closed behind it
	failed error
}

// signals are the numbers that a shell adds to 128 for a command that a signal ended (signal(7)), by their names on the
// wire (RFC 4254 6.10).
var signals = map[string]uint8{
	"HUP": 1, "INT": 2, "QUIT": 3, "ILL": 4, "TRAP": 5, "ABRT": 6, "FPE": 8, "KILL": 9, "USR1": 10, "SEGV": 11, "USR2": 12, "PIPE": 13, "ALRM": 14, "TERM": 15,
}

// requests takes what the target says of the command, until it closes the channel.
func (x *execution) requests(requests <-chan *ssh.Request) {
	defer close(x.ended)
	for r := range requests {
		switch r.Type {
		case "exit-status":
			var m struct{ Status uint32 }
			if ssh.Unmarshal(r.Payload, &m) == nil {
				x.end(uint8(min(m.Status, 255)), fmt.Sprintf("exit status %d", m.Status))
			}
		case "exit-signal":
			var m struct {
				Signal  string
				Core    bool
				Message string
				Lang    string
			}
			if ssh.Unmarshal(r.Payload, &m) == nil {
				x.end(128+signals[m.Signal], "signal "+m.Signal)
			}
		}
		if r.WantReply {
			_ = r.Reply(r.Type == "keepalive@openssh.com", nil)
		}
	}
}

func (x *execution) end(status uint8, tag string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.status, x.tag = status, tag
}

func (x *execution) fail(err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.failed == nil {
		x.failed = err
	}
	if !x.cut {
		_ = x.up.Close()
	}
}

// abandon ends a command of which nobody takes any more what it prints: a shell's would get SIGPIPE.
func (x *execution) abandon() {
	x.mu.Lock()
	x.piped = true
	cut := x.cut
	x.mu.Unlock()
	if !cut {
		x.stop("PIPE")
	}
}

// stop signals the command (RFC 4254 6.9) and closes its channel. A command that neither reads nor prints would not
// notice the latter.
func (x *execution) stop(signal string) {
	_, _ = x.up.SendRequest("signal", false, ssh.Marshal(struct{ Signal string }{signal}))
	_ = x.up.Close()
}

// cutting says that the command is being ended by interrupt: until then its channel is open, for signals.
func (x *execution) cutting() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.cut = true
}

// interrupt ends the command, which may take no notice of the end of its channel nor of the first signal.
func (x *execution) interrupt() {
	for _, signal := range []ssh.Signal{ssh.SIGTERM, ssh.SIGKILL} {
		if _, err := x.up.SendRequest("signal", false, ssh.Marshal(struct{ Signal string }{string(signal)})); err != nil {
			break
		}
		select {
		case <-x.ended:
		case <-time.After(signalGrace):
			continue
		}
		break
	}
	_ = x.up.Close()
}

// outcome is how it ended, once it has.
func (x *execution) outcome() (status uint8, tag string, err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case x.failed != nil:
		return statusFailed, x.tag, x.failed
	case x.tag != "":
		return x.status, x.tag, nil
	case x.piped:
		return 128 + signals["PIPE"], "nobody took what it printed", nil
	}
	return statusFailed, "", errors.New("it ended without a status")
}

// taker is the pipe into which a command prints.
type taker struct {
	pipe *os.File
	x    *execution
}

// Write implements io.Writer.
func (t taker) Write(p []byte) (int, error) {
	n, err := t.pipe.Write(p)
	if err != nil {
		t.x.abandon()
	}
	return n, err
}
