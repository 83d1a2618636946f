package wire

import (
	"bytes"
	"fmt"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/postgres/sql"
)

// query handles a simple query.
func (c *Core) query(frame, body []byte) bool {
	if len(body) == 0 || bytes.IndexByte(body, 0) != len(body)-1 {
		c.fatal(codeProtocolViolation, "invalid Query message")
		return false
	}
	if !c.fresh() {
		return false
	}
	j := c.judge(body[:len(body)-1], c.unsure())
	if j.syntax != nil {
		c.refuse(syntaxError(j.syntax), true)
		return true
	}
	verdict, named, what := c.resolve(j, true)
	if what != passes {
		return what == refused
	}
	what, number, grant := c.gate(subject{judged: j, verdict: verdict, text: j.text, place: c.place(), named: named, digested: true, simple: true})
	if what != passes {
		return what == refused
	}
	c.toServer.pass(frame)
	o := c.queue.push(owed{kind: answerQuery, segment: c.segment.number, judged: j})
	o.run = execution{command: number, named: named}
	if grant != nil {
		o.run.granted = ruleName{verdict.Policy, verdict.Rule}
	}
	c.forwarded(o)
	c.nextSegment()
	return true
}

func syntaxError(err *sql.SyntaxError) refusal {
	return refusal{code: err.Code, message: err.Message, detail: err.Detail, hint: err.Hint, position: err.Position, server: true}
}

// oversize answers a statement that is too long to be judged; its bytes are dropped.
func (c *Core) oversize(kind byte, size int) bool {
	if !c.fresh() {
		return false
	}
	text := fmt.Sprintf("(a statement of %d bytes, not read)", size)
	cmd := policy.Command{Protocol: policy.ProtocolPostgres, Text: text,
		Unrecognised: fmt.Sprintf("the statement is %d bytes long, more than the %d that are read", size, c.maxText())}
	v := c.compiled.destination.Decide(cmd)
	v.Action = policy.Deny // nobody could see what they approve
	what, _, _ := c.gate(subject{verdict: v, text: text, simple: kind == msgQuery})
	return what == refused
}

// functionCall refuses the function call sub-protocol, which says what to call by object id.
func (c *Core) functionCall() bool {
	v := policy.Verdict{Action: policy.Deny, Rule: policy.RuleBuiltin,
		Message: "the function call sub-protocol is refused: call the function in a SELECT"}
	what, _, _ := c.gate(subject{verdict: v, text: "(function call message)", simple: true})
	return what == refused
}

// resolve completes a verdict by what the statements' names stand for, and returns that for each part: nil for a
// cursor that the session has not declared itself. A prepared statement's name that stands for nothing is answered as
// the server would.
func (c *Core) resolve(j *judged, simple bool) (v policy.Verdict, named []*statement, what outcome) {
	if !j.uses {
		return j.verdict, nil, passes
	}
	if c.pending == nil && !c.drained() {
		return v, nil, waits
	}
	all := j.commands
	named = make([]*statement, len(j.parts))
	names := c.overlay()
	for i := range j.parts {
		p := &j.parts[i]
		names.apply(p)
		switch by := p.byName(); {
		case by == nil:
		case by.Kind == sql.KindExecute:
			s := names.statement(by.Prepared.Name)
			if s == nil {
				c.missing(codeNoStatement, fmt.Sprintf("prepared statement %q does not exist", by.Prepared.Name), simple)
				return v, nil, refused
			}
			named[i] = s
			all = append(all[:len(all):len(all)], c.commandsOf(s, ruleName{})...)
		default:
			cursor := names.portal(by.Cursor.Name)
			if cursor == nil {
				all = append(all[:len(all):len(all)], unknownCursor(p))
				continue
			}
			c.planned(cursor)
			named[i] = cursor.statement
			all = append(all[:len(all):len(all)], c.commandsOf(cursor.statement, cursor.granted)...)
		}
	}
	v, _ = c.compiled.destination.DecideAll(all)
	return v, named, passes
}

// unknownCursor is what a FETCH may do whose cursor the session has not declared: a function may have, over a query of
// its own, which nobody could judge. The server knows whether there is one.
func unknownCursor(p *part) policy.Command {
	return policy.Command{Protocol: policy.ProtocolPostgres, Text: p.Text, SQL: &policy.SQL{
		Command: "SELECT", Via: []string{"FETCH"}, Tables: []policy.Table{{Name: policy.Unknown}},
	}}
}

// missing answers the use of a name that stands for nothing, as the server does.
func (c *Core) missing(code, message string, simple bool) {
	c.pending = nil
	c.refuse(refusal{code: code, message: message, server: true}, simple)
}

// commandsOf judges a prepared statement as of now. What it was approved for is left out.
func (c *Core) commandsOf(s *statement, granted ruleName) []policy.Command {
	j := c.judgeStatement(s)
	commands := j.commandsOf(s)
	if granted == (ruleName{}) {
		return commands
	}
	var out []policy.Command
	for i := range commands {
		v := c.compiled.destination.Decide(commands[i])
		if v.Action == policy.RequireApproval && (ruleName{v.Policy, v.Rule}) == granted {
			continue
		}
		out = append(out, commands[i])
	}
	return out
}

// commandsOf are the commands that run when s, whose text is j's, is executed.
func (j *judged) commandsOf(s *statement) []policy.Command {
	if s.bySQL && len(j.parts) == 1 {
		return j.parts[0].innerCommands
	}
	return j.commands
}

// overlay is the session's names as the statements of one query string see them, each what the ones before it
// have made.
type overlay struct {
	names      *names
	statements map[string]*statement
	portals    map[string]*portal
}

func (c *Core) overlay() *overlay {
	return &overlay{&c.names, make(map[string]*statement), make(map[string]*portal)}
}

// apply takes in what a statement makes. What it drops stays: to use that is an error of the server's.
func (o *overlay) apply(p *part) {
	switch p.Kind {
	case sql.KindPrepare:
		o.statements[p.Prepared.Name] = &statement{text: p.Text, bySQL: true}
	case sql.KindDeclare:
		o.portals[p.Cursor.Name] = &portal{statement: &statement{text: p.Text, bySQL: true}, cursor: true}
	}
}

func (o *overlay) statement(name string) *statement {
	if s := o.statements[name]; s != nil {
		return s
	}
	s := o.names.statements[name]
	if s != nil && s.gone {
		return nil
	}
	return s
}

func (o *overlay) portal(name string) *portal {
	if p := o.portals[name]; p != nil {
		return p
	}
	p := o.names.portals[name]
	if p != nil && p.gone {
		return nil
	}
	return p
}
