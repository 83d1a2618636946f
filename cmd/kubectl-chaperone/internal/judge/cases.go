// Package judge judges commands by policies in files, without a cluster: with the operator's conversion, the sidecar's
// compiler and the sidecar's recognisers.
package judge

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"sigs.k8s.io/yaml"
)

// Cases is a file of commands and of what should become of them.
type Cases struct {
	// Defaults for every case that does not say otherwise.
	Defaults Where  `json:"defaults,omitempty"`
	Cases    []Case `json:"cases"`
}

// Where is who runs something, and where.
type Where struct {
	// Namespace and Labels are the pod's: the policies of that namespace that select it apply. Without labels all do.
	Namespace string            `json:"namespace,omitempty"`
	Labels    map[string]string `json:"labels,omitempty"`
	// Target is a target by its name; or Host and Port are what the agent dials.
	Target string `json:"target,omitempty"`
	Host   string `json:"host,omitempty"`
	Port   uint16 `json:"port,omitempty"`
	// User is the session's: PostgreSQL's current role, the user on the SSH server.
	User string `json:"user,omitempty"`
	// SearchPath is PostgreSQL's; without it, public alone.
	SearchPath []string `json:"searchPath,omitempty"`
}

// Case is one command. Exactly one of SQL, Exec, Shell, Subsystem, File, Forward, Request and Connect is set.
type Case struct {
	Name  string `json:"name,omitempty"`
	Where `json:",inline"`

	// SQL is a query string, of one statement or several.
	SQL string `json:"sql,omitempty"`
	// Exec is a command as ssh is given it; Shell a session without one; Subsystem a subsystem's name; PTY asks for a
	// terminal. Forward is a forwarding (Local, Remote, StreamLocal, Agent, X11, Tun) to Address.
	Exec      string `json:"exec,omitempty"`
	Shell     bool   `json:"shell,omitempty"`
	Subsystem string `json:"subsystem,omitempty"`
	PTY       bool   `json:"pty,omitempty"`
	// File is a path on the server, and Operation what is done to it over sftp; To is the other path of a rename or link.
	File      string `json:"file,omitempty"`
	Operation string `json:"operation,omitempty"`
	To        string `json:"to,omitempty"`
	Forward   string `json:"forward,omitempty"`
	Address   string `json:"address,omitempty"`
	// Request is a request to a Kubernetes API server: a method and a target. Command, Container, Stdin and TTY are
	// parameters of an exec or attach, which can also stand in the target.
	Request   string   `json:"request,omitempty"`
	Command   []string `json:"command,omitempty"`
	Container string   `json:"container,omitempty"`
	Stdin     bool     `json:"stdin,omitempty"`
	TTY       bool     `json:"tty,omitempty"`
	// Connect says that only a connection is made.
	Connect bool `json:"connect,omitempty"`

	Expect Expectation `json:"expect"`
}

// Expectation is what should become of a command. What is not said is not compared.
type Expectation struct {
	// Verdict is Allow, Deny, RequireApproval or, of SQL that the grammar does not know, SyntaxError.
	Verdict string `json:"verdict,omitempty"`
	// Audited is what a policy in Audit would have said if it were enforced.
	Audited string `json:"audited,omitempty"`
	Policy  string `json:"policy,omitempty"`
	Rule    string `json:"rule,omitempty"`
	// Message is a part of what the agent is told.
	Message string `json:"message,omitempty"`
}

// UnmarshalJSON reads a verdict alone, too.
func (e *Expectation) UnmarshalJSON(text []byte) error {
	if len(text) > 0 && text[0] == '"' {
		return yaml.Unmarshal(text, &e.Verdict)
	}
	type plain Expectation
	return yaml.UnmarshalStrict(text, (*plain)(e))
}

// SyntaxError is the verdict on SQL that the grammar does not know: the agent gets the server's own answer.
const SyntaxError = "SyntaxError"

var verdicts = []string{"Allow", "Deny", "RequireApproval", SyntaxError}

// ParseCases reads a file of cases. A field that it does not know is an error, or a case would pass for what it does not
// say.
func ParseCases(text []byte) (*Cases, error) {
	var c Cases
	if err := yaml.UnmarshalStrict(text, &c); err != nil {
		return nil, err
	}
	if len(c.Cases) == 0 {
		return nil, errors.New("it holds no cases")
	}
	for i := range c.Cases {
		if err := c.Cases[i].complete(&c.Defaults); err != nil {
			return nil, fmt.Errorf("case %d (%s): %w", i+1, c.Cases[i].Title(), err)
		}
	}
	return &c, nil
}

// Title names the case for people.
func (c *Case) Title() string {
	if c.Name != "" {
		return c.Name
	}
	return c.Text()
}

// Text is the command.
func (c *Case) Text() string {
	switch {
	case c.SQL != "":
		return c.SQL
	case c.Exec != "":
		return c.Exec
	case c.Shell:
		return "(an interactive session)"
	case c.Subsystem != "":
		return "subsystem " + c.Subsystem
	case c.File != "":
		return strings.TrimSpace("sftp " + c.Operation + " " + c.File + " " + c.To)
	case c.Forward != "":
		return strings.TrimSpace(c.Forward + " forwarding " + c.Address)
	case c.Request != "" && len(c.Command) > 0:
		return c.Request + " -- " + strings.Join(c.Command, " ")
	case c.Request != "":
		return c.Request
	case c.Connect:
		return "(a connection)"
	}
	return "(nothing)"
}

func (c *Case) complete(d *Where) error {
	w := &c.Where
	if w.Namespace == "" {
		w.Namespace = d.Namespace
	}
	if w.Labels == nil {
		w.Labels = d.Labels
	}
	if w.Target == "" && w.Host == "" {
		w.Target, w.Host = d.Target, d.Host
		if w.Port == 0 {
			w.Port = d.Port
		}
	}
	if w.User == "" {
		w.User = d.User
	}
	if w.SearchPath == nil {
		w.SearchPath = d.SearchPath
	}
	set := 0
	for _, is := range []bool{c.SQL != "", c.Exec != "", c.Shell, c.Subsystem != "", c.File != "", c.Forward != "", c.Request != "", c.Connect} {
		if is {
			set++
		}
	}
	if set != 1 {
		return fmt.Errorf("it needs exactly one of sql, exec, shell, subsystem, file, forward, request and connect, and has %d", set)
	}
	for _, v := range []string{c.Expect.Verdict, c.Expect.Audited} {
		if v != "" && !contains(verdicts, v) {
			return fmt.Errorf("expect: %q is none of %s", v, strings.Join(verdicts, ", "))
		}
	}
	if c.Expect == (Expectation{}) {
		return errors.New("expect is missing: what should become of it?")
	}
	if (len(c.Command) > 0 || c.Container != "" || c.Stdin || c.TTY) && c.Request == "" {
		return errors.New("command, container, stdin and tty go with a request for pods/exec")
	}
	return nil
}

// line is the request line with the parameters that stand beside it.
func (c *Case) line() (method, target string, err error) {
	method, target, ok := strings.Cut(c.Request, " ")
	if !ok {
		return "", "", fmt.Errorf("request %q: a method and a path are needed, such as GET /api/v1/namespaces/agents/pods", c.Request)
	}
	target = strings.TrimSpace(target)
	add := url.Values{}
	if len(c.Command) > 0 {
		add["command"] = c.Command
	}
	if c.Container != "" {
		add.Set("container", c.Container)
	}
	if c.Stdin {
		add.Set("stdin", "true")
	}
	if c.TTY {
		add.Set("tty", "true")
	}
	if len(add) > 0 {
		separator := "?"
		if strings.Contains(target, "?") {
			separator = "&"
		}
		target += separator + add.Encode()
	}
	return method, target, nil
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}
