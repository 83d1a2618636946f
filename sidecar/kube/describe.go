package kube

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode"

	"github.com/chaperone-dev/chaperone/sidecar/kube/request"
	"github.com/chaperone-dev/chaperone/sidecar/kube/secret"
	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/shell"
)

const (
	// maxRecorded bounds a text in the recording, and maxAsked what people are shown of a body.
	maxRecorded = 4 << 10
	maxAsked    = 8 << 10
)

// describe makes of the request what is judged and what people read.
func (x *exchange) describe() {
	x.text, x.length = x.rules.detectors.Text(text(x.request), maxRecorded)
	x.digest = x.sum()
	x.commands = Commands(x.request)
}

// Commands are what a request is judged by: one, or of an exec every simple command that it runs.
func Commands(r *request.Request) []policy.Command {
	k := r.Kubernetes
	command := policy.Command{Protocol: policy.ProtocolKubernetes, Text: text(r)}
	if r.Exec == nil || r.Exec.Attach {
		if r.Exec != nil {
			k.Interactive = k.Stdin // whatever runs there is told what nobody can see beforehand
		}
		command.Kubernetes = &k
		return []policy.Command{command}
	}
	argv := r.Exec.Command
	if (k.Stdin || k.TTY) && shell.Interactive(argv) {
		k.Interactive = true
		command.Kubernetes = &k
		return []policy.Command{command}
	}
	found, err := shell.OfArgv(argv)
	if err != nil || len(found) == 0 {
		if err == nil {
			err = errors.New("the command runs nothing that can be told")
		}
		command.Unrecognised = err.Error()
		return []policy.Command{command}
	}
	commands := make([]policy.Command, len(found))
	for i := range found {
		one := k
		one.Argv = &found[i]
		commands[i] = command
		commands[i].Kubernetes = &one
	}
	return commands
}

// text is the request as people read it; a session as a person would have typed it.
func text(r *request.Request) string {
	k := &r.Kubernetes
	if r.Exec == nil && k.Subresource != "portforward" {
		return r.Method + " " + r.Target()
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s -n %s", k.Subresource, k.Name, k.Namespace)
	if k.Container != "" {
		b.WriteString(" -c " + k.Container)
	}
	if e := r.Exec; e != nil {
		if e.Stdin {
			b.WriteString(" -i")
		}
		if e.TTY {
			b.WriteString(" -t")
		}
		if !e.Attach {
			b.WriteString(" -- " + shell.Quote(e.Command))
		}
	}
	for _, port := range k.Ports {
		fmt.Fprintf(&b, " %d", port)
	}
	return b.String()
}

// texts are the runs of printable characters in a binary body, one a line.
func texts(body []byte) []byte {
	var out []byte
	for run := range bytes.FieldsFuncSeq(body, func(c rune) bool { return !unicode.IsPrint(c) }) {
		if len(run) >= leastText {
			out = append(append(out, run...), '\n')
		}
	}
	return out
}

// leastText is the least of a binary body that is shown; what is shorter is rarely text.
const leastText = 3

// asked is the request as an approver reads it: the body too, of a Secret without its values.
func (x *exchange) asked() string {
	text, _ := x.rules.detectors.Text(x.text, maxRecorded)
	if len(x.body) == 0 {
		return text
	}
	body := x.body
	kind := x.r.Header.Get("Content-Type")
	switch {
	case x.isSecret():
		var masking secret.Rewriter
		rewritten, err := masking.Write(nil, body)
		if err != nil || masking.Close() != nil {
			return fmt.Sprintf("%s\n(a body of %d bytes, %s, which is not shown because it may hold a Secret's values)", text, len(body), kind)
		}
		body = rewritten
	case bytes.IndexByte(body, 0) >= 0:
		// kubectl create sends protobuf; its texts are in it as they are.
		text += fmt.Sprintf("\n(a body of %d bytes, %s; the texts in it:)", len(body), kind)
		body = texts(body)
	}
	shown, _ := x.rules.detectors.Text(string(body), maxAsked)
	return text + "\n" + shown
}
