package ssh

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"golang.org/x/crypto/ssh"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/record"
	"github.com/chaperone-dev/chaperone/sidecar/script"
	"github.com/chaperone-dev/chaperone/sidecar/session"
	"github.com/chaperone-dev/chaperone/sidecar/shell"
	"github.com/chaperone-dev/chaperone/sidecar/stream"
)

// interprets says that a command is to be interpreted, its commands judged as they come: where the policy asks for that,
// the text is more than one command whose words are known, and it would not run as it is. The verdict is that on the text.
func (ch *channel) interprets(p plan) (policy.Verdict, bool) {
	if p.kind != "exec" || ch.pty != nil || ch.c.protocol.opts.Scripts == nil {
		return policy.Verdict{}, false
	}
	if _, simple := shell.Simple(p.text); simple || len(p.commands) == 0 || p.commands[0].Unrecognised != "" {
		return policy.Verdict{}, false
	}
	d, err := ch.c.destination()
	if err != nil || !d.SSH().Interpret {
		return policy.Verdict{}, false
	}
	v, _ := decide(d, p.commands)
	return v, v.Action != policy.Allow
}

// scriptRun is a script that is interpreted for the agent.
type scriptRun struct {
	ch *channel
	up *upstream
}

// interpret runs a script to the end of the channel. It adds nothing to what the agent could do by itself, command by
// command: each is judged, recorded and masked as an exec of its words would be, before the script sees what it prints.
func (ch *channel) interpret(up *upstream, p plan, v policy.Verdict) {
	ch.judgeForwardings(up)
	number := ch.c.commands.Add(1)
	text, length := ch.c.masking().Text(p.text, maxRecordedText)
	err := ch.c.record(record.Event{
		Kind: record.KindCommand, Command: number, Text: text, TextLength: length, Digest: ch.digest(p, up.user), Verdict: string(policy.Allow),
		Policy: v.Policy, Generation: v.Generation, Rule: policy.RuleInterpreted, Message: "a script; each of its commands is judged as it comes",
	})
	if err != nil {
		ch.refuse(unrecorded(err))
		return
	}
	ctx, cancel := context.WithCancelCause(ch.ctx)
	defer cancel(nil)
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		select {
		case <-ch.c.over:
			cancel(ch.c.overCause)
		case <-stop:
		}
	}()
	theirs, outputs, err := ch.connect(number)
	if err != nil {
		ch.refuse(err)
		return
	}
	s := &scriptRun{ch, up}
	status, err := ch.c.protocol.opts.Scripts.Run(ctx, p.text, theirs, s.command)
	shown := outputs()
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = cause
	}
	e := record.Event{Kind: record.KindResult, Command: number, Bytes: shown.bytes, Masked: shown.masked}
	if err == nil {
		err = shown.err
	}
	if err == nil {
		e.Tag = fmt.Sprintf("exit status %d", status)
		_ = ch.c.record(e)
		ch.exit(uint32(status))
		return
	}
	e.Error, _ = ch.c.masking().Text(err.Error(), 1<<10)
	_ = ch.c.record(e)
	var refused *script.Refused
	if errors.As(err, &refused) {
		why, _ := ch.c.masking().Text(strings.ToValidUTF8(refused.Why, "?"), 1<<10)
		err = &refusal{message: why, status: statusDenied, detail: fmt.Sprintf("The script was interpreted, as %s says (ssh.shell: Interpret), and ended there.", asks(v)),
			hint: "What it had run by then did run. Write it otherwise, or run its commands one by one."}
	}
	ch.refuse(err)
}

// asks names the policy that judged the script.
func asks(v policy.Verdict) string {
	if v.Policy == "" {
		return "the policy"
	}
	return "policy " + v.Policy
}

// printed is what a script or a command showed.
type printed struct {
	bytes, masked int64
	err           error
}

// connect makes the pipes of a script and moves what goes through them. What it returns waits for the end of the output.
func (ch *channel) connect(number uint64) (theirs script.Pipes, outputs func() printed, err error) {
	var ends []*os.File
	for range 3 {
		r, w, perr := os.Pipe()
		if perr != nil {
			for _, f := range ends {
				f.Close()
			}
			return theirs, nil, failure(perr, "a script cannot be interpreted now", "")
		}
		ends = append(ends, r, w)
	}
	theirs = script.Pipes{Stdin: ends[0], Stdout: ends[3], Stderr: ends[5]}
	go func() {
		_, _ = stream.Copy(ends[1], ch.agent)
		ends[1].Close()
	}()
	var both [2]*stream.Output
	var errs [2]error
	var copying sync.WaitGroup
	for i, to := range []io.Writer{ch.agent, ch.agent.Stderr()} {
		from := ends[2+2*i]
		both[i] = stream.New(to, ch.c.detectors, ch.c.session.Recorder, []string{"stdout", "stderr"}[i], number, stream.MaxRecorded)
		copying.Go(func() {
			errs[i] = both[i].Copy(from)
			from.Close()
		})
	}
	return theirs, func() (p printed) {
		copying.Wait()
		for i, o := range both {
			bytes, masked := o.Counts()
			p.bytes, p.masked = p.bytes+bytes, p.masked+int64(masked)
			p.err = errors.Join(p.err, errs[i])
		}
		return p
	}, nil
}

// command implements script.Runner.
func (s *scriptRun) command(ctx context.Context, cmd script.Command, start func() (*script.Pipes, error)) uint8 {
	ch, c := s.ch, s.ch.c
	text := shell.Quote(cmd.Argv)
	if cmd.Dir != "" {
		text = shell.Quote([]string{"cd", cmd.Dir}) + " && " + text
	}
	p := recognise("exec", text, s.up.user, false)
	let, err := c.gate(ctx, subject{commands: p.commands, text: p.text, say: ch.say, digest: ch.digest(p, s.up.user),
		justification: session.Justification(ch.why, c.masking().Text)})
	if err == nil {
		var pipes *script.Pipes
		if pipes, err = start(); err == nil {
			return s.run(ctx, p, let, pipes)
		}
		err = failure(err, "a command of the script cannot be connected", "")
	}
	return s.refuse(ctx, err)
}

// refuse tells the agent, past the script's own redirections, and the script by a status.
func (s *scriptRun) refuse(ctx context.Context, err error) uint8 {
	r := asRefusal(err)
	if ctx.Err() == nil {
		s.ch.say(r.text())
	}
	return uint8(r.status)
}

// run runs what was let through, for as long as it is allowed. The script goes on behind it in any case.
func (s *scriptRun) run(ctx context.Context, p plan, let passage, pipes *script.Pipes) uint8 {
	ch, number := s.ch, let.number
	defer pipes.Close()
	e := record.Event{Kind: record.KindResult, Command: number}
	allowed, end := ch.c.whileAllowed(ctx, let)
	defer end()
	up, requests, err := ch.open(s.up, p.kind)
	if err != nil {
		e.Error = err.Error()
		_ = ch.c.record(e)
		return s.refuse(ctx, err)
	}
	// The end of the script is that of whatever it runs, also where somebody does not read.
	x := &execution{up: up, ended: make(chan struct{})}
	stop := context.AfterFunc(allowed, func() {
		defer pipes.Close()
		if interruption(allowed) == nil && !ch.c.timeIsOver() { // the agent ended it
			x.stop("TERM")
			return
		}
		ch.c.ending.RLock()
		defer ch.c.ending.RUnlock()
		x.cutting()
		pipes.Close()
		x.interrupt()
	})
	defer stop()
	go x.requests(requests)
	ok, err := up.SendRequest("exec", true, ssh.Marshal(struct{ Text string }{p.forwarded}))
	if err != nil || !ok {
		_ = up.Close()
		<-x.ended
		r := failure(err, fmt.Sprintf("target %s refuses to start it", ch.c.kept.Name()), "")
		e.Error = r.message
		_ = ch.c.record(e)
		return s.refuse(ctx, r)
	}
	go func() {
		_, _ = stream.Copy(up, pipes.Stdin)
		_ = up.CloseWrite()
	}()
	var copying sync.WaitGroup
	outputs := map[*os.File]*stream.Output{}
	for name, pipe := range map[string]*os.File{"stdout": pipes.Stdout, "stderr": pipes.Stderr} {
		from := io.Reader(up)
		if name == "stderr" {
			from = up.Stderr()
		}
		o := stream.New(taker{pipe, x}, ch.c.detectors, ch.c.session.Recorder, name, number, stream.MaxRecorded)
		outputs[pipe] = o
		copying.Go(func() {
			if err := o.Copy(from); err != nil {
				x.fail(err)
			}
			pipe.Close()
		})
	}
	over := make(chan struct{})
	go func() {
		defer close(over)
		copying.Wait()
		<-x.ended
		_ = up.Close()
	}()
	select {
	case <-over:
	case <-allowed.Done(): // a server closes its channel when the command has ended, which may not heed a signal
	}
	for _, o := range outputs {
		bytes, masked := o.Counts()
		e.Bytes += bytes
		e.Masked += int64(masked)
	}
	if ended := interruption(allowed); ended != nil {
		e.Error = ended.cause.Error()
		_ = ch.c.record(e)
		return s.refuse(ctx, ended)
	}
	status, tag, err := x.outcome()
	e.Tag = tag
	if err != nil {
		e.Error = err.Error()
		if ctx.Err() == nil {
			ch.say((&refusal{message: e.Error}).text())
		}
	}
	_ = ch.c.record(e)
	return status
}
