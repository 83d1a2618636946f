package ssh

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/record"
	"github.com/chaperone-dev/chaperone/sidecar/shell"
	"github.com/chaperone-dev/chaperone/sidecar/ssh/sftp"
)

// ruleKey names a rule in one generation of its policy.
type ruleKey struct {
	policy     string
	generation int64
	rule       string
}

func keyOf(v policy.Verdict) ruleKey { return ruleKey{v.Policy, v.Generation, v.Rule} }

// files serves an sftp session to its end.
func (j *job) files() {
	ch := j.ch
	g := &fileGate{j: j, granted: j.plan.granted}
	resolves := strings.HasPrefix(string(ch.c.upstream.conn.ServerVersion()), "SSH-2.0-OpenSSH")
	err := sftp.Serve(ch.ctx, ch.agent, j.up, g, sftp.Options{Resolves: resolves})
	if err == nil || ch.ctx.Err() != nil {
		return
	}
	j.fail(err.Error())
	_ = j.up.Close()
}

// fileGate judges and records what is done over sftp.
type fileGate struct {
	j       *job
	granted map[ruleKey]bool

	mu   sync.Mutex // guards said
	said int        // bytes
}

// maxSaid bounds what is said on the standard error of an sftp session, beside the answers themselves. Some clients
// never read it, and what is not read takes from the channel's window.
const maxSaid = 16 << 10

func (g *fileGate) say(text string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.said += len(text); g.said <= maxSaid {
		g.j.ch.say(text)
	}
}

// reading are the operations that change nothing.
var reading = map[string]bool{"read": true, "list": true, "stat": true, "readlink": true, "statvfs": true, policy.OperationRealpath: true}

// Judge implements sftp.Gate.
func (g *fileGate) Judge(ctx context.Context, op sftp.Operation) (sftp.Ruling, error) {
	c := g.j.ch.c
	user := c.upstream.user
	var ruling sftp.Ruling
	s := subject{
		waits: func() { ruling.Waited = true },
		text:  describe(op), readOnly: true, say: g.say,
		standing: func(v policy.Verdict) bool { return g.granted[keyOf(v)] },
		digest:   digest("sftp", c.kept.Name(), user, strings.Join(op.Names, "+"), op.Path, op.Target, op.Detail, fmt.Sprint(op.Tree)),
	}
	for _, name := range op.Names {
		s.readOnly = s.readOnly && reading[name]
		s.commands = append(s.commands, policy.Command{Protocol: policy.ProtocolSSH, Text: s.text, SSH: &policy.SSHRequest{
			Kind: policy.SSHFile, User: user, Subsystem: policy.SubsystemSFTP, Operation: name, Path: op.Path, Target: op.Target,
			Asked: op.Asked, AskedTarget: op.AskedTarget, Tree: op.Tree, ReadOnly: reading[name],
		}})
	}
	for _, p := range op.Through {
		s.commands = append(s.commands, policy.Command{Protocol: policy.ProtocolSSH, Text: s.text, SSH: &policy.SSHRequest{
			Kind: policy.SSHFile, User: user, Subsystem: policy.SubsystemSFTP, Operation: policy.OperationRealpath, Path: p.Path, Asked: p.Asked, ReadOnly: true,
		}})
	}
	if op.Failed {
		d, err := c.destination()
		if err != nil {
			return ruling, errors.New(asRefusal(err).line())
		}
		if v, _ := decide(d, s.commands); v.Action == policy.RequireApproval {
			return ruling, nil // nothing is done, so there is nothing to ask
		}
	}
	let, err := c.gate(ctx, s)
	if ruling.Number = let.number; err == nil {
		ruling.Stands = g.stands(let)
		return ruling, nil
	}
	r := asRefusal(err)
	g.say(r.text())
	return ruling, errors.New(r.line())
}

// stands says what denies by now what was let through, and tells the agent once.
func (g *fileGate) stands(let passage) func() error {
	allowed := g.j.ch.c.stillAllowed(let)
	var once sync.Once
	return func() error {
		err := allowed()
		if err == nil {
			return nil
		}
		r := &refusal{message: err.Error()}
		once.Do(func() { g.say(r.text()) })
		return errors.New(r.line())
	}
}

// describe is an operation as people read it. A path that could be read as two is in quotes.
func describe(op sftp.Operation) string {
	text := "sftp " + strings.Join(op.Names, "+")
	for _, p := range []string{op.Path, op.Target} {
		switch {
		case p == "" && op.Target == "":
		case p == "" || strings.Trim(p, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789/._-+=,:@%") != "":
			text += " " + shell.Quote([]string{p})
		default:
			text += " " + p
		}
	}
	if op.Detail != "" {
		text += " (" + op.Detail + ")"
	}
	return text
}

// Done implements sftp.Gate.
func (g *fileGate) Done(number uint64, r sftp.Result) {
	c := g.j.ch.c
	e := record.Event{Kind: record.KindResult, Command: number, Bytes: r.Read.Bytes + r.Written.Bytes, Tag: "done"}
	if r.Error != "" {
		e.Error, _ = c.masking().Text(r.Error, 1<<10)
		e.Tag = ""
	}
	var tag []string
	for _, t := range []struct {
		did string
		sftp.Transfer
	}{{"read", r.Read}, {"wrote", r.Written}} {
		if t.Bytes == 0 {
			continue
		}
		text := fmt.Sprintf("%s %d bytes", t.did, t.Bytes)
		if t.Digest != "" {
			text += ", sha256 " + t.Digest
			e.Digest = t.Digest
		} else {
			text += ", not in the file's order"
		}
		tag = append(tag, text)
	}
	if len(tag) > 0 {
		e.Tag = strings.Join(tag, "; ")
	}
	// What cannot be recorded shows at the next operation, which is then refused where the policy says so.
	_ = c.record(e)
}
