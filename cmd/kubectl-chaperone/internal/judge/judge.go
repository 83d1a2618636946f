package judge

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/chaperone-dev/chaperone/sidecar/kube"
	"github.com/chaperone-dev/chaperone/sidecar/kube/request"
	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/postgres/sql"
	"github.com/chaperone-dev/chaperone/sidecar/postgres/wire"
	"github.com/chaperone-dev/chaperone/sidecar/ssh"
)

// Outcome is what becomes of a command.
type Outcome struct {
	Case    string `json:"case"`
	Target  string `json:"target,omitempty"`
	Command string `json:"command"`
	Verdict string `json:"verdict,omitempty"`
	Audited string `json:"audited,omitempty"`
	Policy  string `json:"policy,omitempty"`
	Rule    string `json:"rule,omitempty"`
	Message string `json:"message,omitempty"`
	// Wrong says how that is not what was expected; empty where it is.
	Wrong string `json:"wrong,omitempty"`
}

// OK tells whether the case came out as expected.
func (o *Outcome) OK() bool { return o.Wrong == "" }

// Judge judges every case.
func (p *Policies) Judge(cases *Cases) []Outcome {
	out := make([]Outcome, len(cases.Cases))
	for i := range cases.Cases {
		c := &cases.Cases[i]
		out[i] = Outcome{Case: c.Title(), Command: c.Text(), Target: c.Target}
		if err := p.judge(c, &out[i]); err != nil {
			out[i].Wrong = err.Error()
			continue
		}
		out[i].Wrong = c.Expect.differs(&out[i])
	}
	return out
}

func (e *Expectation) differs(o *Outcome) string {
	var wrong []string
	for _, part := range []struct{ what, want, got string }{
		{"verdict", e.Verdict, o.Verdict}, {"audited", e.Audited, o.Audited}, {"rule", e.Rule, o.Rule},
	} {
		if part.want != "" && part.want != part.got {
			wrong = append(wrong, fmt.Sprintf("%s %s was expected", part.what, part.want))
		}
	}
	if e.Policy != "" && e.Policy != o.Policy && !strings.HasSuffix(o.Policy, "/"+e.Policy) {
		wrong = append(wrong, "policy "+e.Policy+" was expected")
	}
	if e.Message != "" && !strings.Contains(o.Message, e.Message) {
		wrong = append(wrong, fmt.Sprintf("a message with %q was expected", e.Message))
	}
	return strings.Join(wrong, ", ")
}

func (p *Policies) judge(c *Case, o *Outcome) error {
	compiled, err := p.of(&c.Where)
	if err != nil {
		return err
	}
	d, err := destination(compiled, c)
	if err != nil {
		return err
	}
	if d == nil { // no target is for it
		o.Target = ""
		o.take(compiled.EgressVerdict(c.Host, c.Port))
		if c.Connect || o.Verdict == string(policy.Deny) {
			return nil
		}
		return fmt.Errorf("no target is for %s port %d: the connection passes uninspected", c.Host, c.Port)
	}
	o.Target = d.Name()
	if c.Connect {
		o.take(connection(d))
		return nil
	}
	if want := c.protocol(); want != d.Protocol() {
		return fmt.Errorf("target %s speaks %s, and that is for %s", d.Name(), d.Protocol(), want)
	}
	if c.SQL != "" {
		return c.judgeSQL(d, o)
	}
	commands, err := c.commands(d)
	if err != nil {
		return err
	}
	v, _ := d.DecideAll(commands)
	o.take(v)
	return nil
}

func (o *Outcome) take(v policy.Verdict) {
	o.Verdict, o.Audited, o.Policy, o.Rule, o.Message = string(v.Action), string(v.Audited), v.Policy, v.Rule, v.Message
}

// connection is what becomes of a connection to a target before anything is asked of it.
func connection(d *policy.Destination) policy.Verdict {
	v := policy.Verdict{Action: policy.Allow, Policy: d.Targets()[0].Policy}
	if why := d.Conflict(); why != "" {
		return policy.Verdict{Action: policy.Deny, Rule: policy.RuleConflict, Message: why}
	}
	for _, a := range d.Access() {
		switch {
		case a.Approval == nil:
		case a.Audited:
			v.Audited = policy.RequireApproval
		default:
			return policy.Verdict{Action: policy.RequireApproval, Policy: a.Policy, Rule: policy.RuleAccess, Message: "a session to target " + a.Target + " needs an approval", Approval: a.Approval}
		}
	}
	return v
}

// destination finds what the case is for, nil where no target is.
func destination(compiled *policy.Compiled, c *Case) (*policy.Destination, error) {
	if c.Host != "" {
		if c.Port == 0 {
			return nil, errors.New("host needs a port")
		}
		return compiled.Lookup(c.Host, c.Port), nil
	}
	var names []string
	var found []*policy.Destination
	for _, d := range compiled.Destinations() {
		names = append(names, d.Name())
		if d.Name() == c.Target || slices.ContainsFunc(d.Targets(), func(r policy.Ref) bool { return r.Target.Name == c.Target }) || c.Target == "" && (c.Connect || d.Protocol() == c.protocol()) {
			found = append(found, d)
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case c.Target == "" && len(found) == 0:
		return nil, fmt.Errorf("no %s target applies", c.protocol())
	case c.Target == "":
		return nil, fmt.Errorf("several targets could be meant: say which (target); there are %s", strings.Join(names, ", "))
	case len(found) == 0:
		return nil, fmt.Errorf("no policy that applies has a target %s; there are %s", c.Target, strings.Join(names, ", "))
	}
	return nil, fmt.Errorf("several destinations have a target %s: say which (host, port)", c.Target)
}

func (c *Case) protocol() policy.Protocol {
	switch {
	case c.SQL != "":
		return policy.ProtocolPostgres
	case c.Request != "":
		return policy.ProtocolKubernetes
	case c.Connect:
		return ""
	}
	return policy.ProtocolSSH
}

func (c *Case) judgeSQL(d *policy.Destination, o *Outcome) error {
	if why := d.Conflict(); why != "" {
		o.take(policy.Verdict{Action: policy.Deny, Rule: policy.RuleConflict, Message: why})
		return nil
	}
	rules, err := wire.CompileRules(d)
	if err != nil {
		return err
	}
	state := sql.DefaultState()
	state.User = c.User
	if c.SearchPath != nil {
		state.SearchPath = c.SearchPath
	}
	v, err := rules.Judge(c.SQL, state)
	var syntax *sql.SyntaxError
	if errors.As(err, &syntax) {
		o.Verdict, o.Message = SyntaxError, err.Error()
		return nil
	}
	o.take(v)
	return err
}

// commands are what SSH and API requests are judged by.
func (c *Case) commands(d *policy.Destination) ([]policy.Command, error) {
	user := c.User
	if s := d.SSH(); s != nil && user == "" {
		user = s.User
	}
	switch {
	case c.Exec != "":
		return ssh.Commands("exec", c.Exec, user, c.PTY), nil
	case c.Shell:
		return ssh.Commands("shell", "", user, c.PTY), nil
	case c.Subsystem != "":
		return ssh.Commands("subsystem", c.Subsystem, user, c.PTY), nil
	case c.File != "":
		if !slices.Contains(policy.Operations, c.Operation) {
			return nil, fmt.Errorf("operation %q is none of %s", c.Operation, strings.Join(policy.Operations, ", "))
		}
		return []policy.Command{{Protocol: policy.ProtocolSSH, Text: c.Text(), SSH: &policy.SSHRequest{
			Kind: policy.SSHFile, User: user, Subsystem: policy.SubsystemSFTP, Operation: c.Operation, Path: c.File, Target: c.To,
		}}}, nil
	case c.Forward != "":
		if !slices.Contains(policy.Forwardings, c.Forward) {
			return nil, fmt.Errorf("forward %q is none of %s", c.Forward, strings.Join(policy.Forwardings, ", "))
		}
		return []policy.Command{{Protocol: policy.ProtocolSSH, Text: c.Text(), SSH: &policy.SSHRequest{
			Kind: policy.SSHForward, User: user, Forwarding: c.Forward, Address: c.Address,
		}}}, nil
	}
	method, target, err := c.line()
	if err != nil {
		return nil, err
	}
	r, err := request.Parse(method, target)
	if err != nil {
		return []policy.Command{{Protocol: policy.ProtocolKubernetes, Text: c.Text(), Unrecognised: err.Error()}}, nil //nolint:nilerr // judged as the sidecar judges it
	}
	return kube.Commands(r), nil
}
