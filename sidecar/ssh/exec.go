package ssh

import (
	"context"
	"fmt"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/record"
	"github.com/chaperone-dev/chaperone/sidecar/session"
	"github.com/chaperone-dev/chaperone/sidecar/shell"
)

// plan is what a session is to run, as it is judged and as it is forwarded.
type plan struct {
	kind      string // exec, shell or subsystem
	forwarded string // the command, or the subsystem's name
	text      string // as people read it
	commands  []policy.Command
	granted   map[ruleKey]bool // by people, for what it does later on
}

// sftp says that what is done is judged file by file.
func (p *plan) sftp() bool { return p.kind == "subsystem" && p.forwarded == policy.SubsystemSFTP }

// recognise makes the requests of an exec, a shell or a subsystem that are judged. A simple command is forwarded as its
// words, quoted again, so that the server's shell cannot read it otherwise; any other text as the recogniser writes it,
// or byte for byte.
func recognise(kind, text, user string, pty bool) plan {
	p := plan{kind: kind, forwarded: text, text: text}
	request := policy.SSHRequest{User: user, PTY: pty}
	one := func(r policy.SSHRequest) {
		p.commands = append(p.commands, policy.Command{Protocol: policy.ProtocolSSH, Text: p.text, SSH: &r})
	}
	unknown := func(why string) {
		p.commands = []policy.Command{{Protocol: policy.ProtocolSSH, Text: p.text, Unrecognised: why}}
	}
	switch kind {
	case "shell":
		p.text = "(an interactive session)"
		request.Kind = policy.SSHShell
		one(request)
		return p
	case "subsystem":
		p.text = "subsystem " + text
		request.Kind, request.Subsystem = policy.SSHSubsystem, text
		if text == policy.SubsystemSFTP {
			request.PTY = false // it has none: no subsystem gets one
		}
		one(request)
		return p
	}
	if strings.ContainsRune(text, 0) {
		unknown("it holds a NUL byte")
		return p
	}
	if words, ok := shell.Simple(text); ok {
		p.forwarded = shell.Quote(words)
		if shell.Interactive(words) {
			request.Kind = policy.SSHShell
			one(request)
			return p
		}
	} else if canonical, ok := shell.Canonical(text); ok {
		p.forwarded = canonical
	}
	argvs, err := shell.Commands(text)
	if err != nil {
		unknown(err.Error())
		return p
	}
	request.Kind = policy.SSHExec
	for i := range argvs {
		request.Argv = &argvs[i]
		one(request)
	}
	return p
}

// run carries out an exec, shell or subsystem request, to the end of the channel.
func (ch *channel) run(kind, text string) {
	up, err := ch.c.await(ch.ctx, ch.say)
	if err != nil {
		ch.refuse(err)
		return
	}
	select {
	case <-ch.answered:
	case <-ch.ctx.Done():
	}
	p := recognise(kind, text, up.user, ch.pty != nil)
	if v, ok := ch.interprets(p); ok {
		ch.interpret(up, p, v)
		return
	}
	granted := map[ruleKey]bool{}
	let, err := ch.c.gate(ch.ctx, subject{
		approved: func(v policy.Verdict) { granted[keyOf(v)] = true },
		commands: p.commands, text: p.text, say: ch.say,
		digest: ch.digest(p, up.user), justification: session.Justification(ch.why, ch.c.masking().Text),
	})
	if err != nil {
		ch.refuse(err)
		return
	}
	p.granted = granted
	allowed, over := ch.c.whileAllowed(ch.ctx, let)
	defer over()
	ch.judgeForwardings(up)
	if err := ch.start(allowed, up, p, let.number); err != nil {
		ch.refuse(err)
		_ = ch.c.record(record.Event{Kind: record.KindResult, Command: let.number, Error: err.Error()})
	}
}

// digest is over all that decides what will run: the words, for whom and where, the terminal and the variables.
func (ch *channel) digest(p plan, user string) string {
	fields := []string{"ssh", ch.c.kept.Name(), user, p.kind, p.forwarded, fmt.Sprint(ch.pty != nil)}
	for _, v := range ch.env {
		fields = append(fields, v.Name, v.Value)
	}
	return digest(fields...)
}

// open makes the target's channel and asks for what precedes the start.
func (ch *channel) open(up *upstream, kind string) (ssh.Channel, <-chan *ssh.Request, error) {
	channel, requests, err := up.conn.OpenChannel("session", nil)
	if err != nil {
		return nil, nil, failure(err, fmt.Sprintf("target %s opens no session: %v", ch.c.kept.Name(), err), "")
	}
	for _, v := range ch.env {
		_, _ = channel.SendRequest("env", false, ssh.Marshal(v))
	}
	if ch.pty != nil && kind != "subsystem" {
		ok, err := channel.SendRequest("pty-req", true, ssh.Marshal(ch.pty))
		if err != nil || !ok {
			_ = channel.Close()
			return nil, nil, failure(err, "target "+ch.c.kept.Name()+" gives no terminal", "")
		}
	}
	for _, r := range ch.asked {
		if ok, err := channel.SendRequest(r.Type, true, r.Payload); err != nil || !ok {
			ch.say("chaperone: target " + ch.c.kept.Name() + " refuses the forwarding that was asked for\n")
		}
	}
	return channel, requests, nil
}

// start runs what was let through, for as long as it is allowed.
func (ch *channel) start(allowed context.Context, up *upstream, p plan, number uint64) error {
	channel, requests, err := ch.open(up, p.kind)
	if err != nil {
		return err
	}
	j := ch.newJob(channel, number, p)
	if err := j.begin(); err != nil {
		_ = channel.Close()
		return err
	}
	var payload []byte
	if p.kind != "shell" {
		payload = ssh.Marshal(struct{ Text string }{p.forwarded})
	}
	// Requests that the server sends meanwhile are answered, or its answer would wait behind them.
	served := make(chan struct{})
	go func() {
		defer close(served)
		j.upstreamRequests(requests)
	}()
	ok, err := channel.SendRequest(p.kind, true, payload)
	if err != nil || !ok {
		_ = channel.Close()
		<-served
		j.discard()
		return failure(err, fmt.Sprintf("target %s refuses to start it", ch.c.kept.Name()), "")
	}
	ch.replies.settle(true)
	j.run(allowed, served)
	return nil
}
