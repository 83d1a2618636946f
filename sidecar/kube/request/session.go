package request

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// Exec is what the parameters of exec and attach ask for (k8s.io/api/core/v1, PodExecOptions, PodAttachOptions).
type Exec struct {
	Attach                     bool
	Command                    []string
	Container                  string
	Stdin, Stdout, Stderr, TTY bool
}

const (
	// maxWords and maxPorts are more than anything sensible; what is longer would only cost time to judge.
	maxWords = 4096
	maxPorts = 64
)

// parameters reads what steers the request beside its path, and writes it again in the one spelling that is forwarded.
func (r *Request) parameters() error {
	k := &r.Kubernetes
	pod := k.Group == "" && k.Resource == "pods" && k.Name != ""
	switch {
	case k.Subresource == "proxy":
		k.ReadOnly = false
	case k.Subresource == "log" && pod:
		r.Follow = r.Query.Has("follow") && boolean(r.Query.Get("follow"))
	case (k.Subresource == "exec" || k.Subresource == "attach") && pod:
		return r.exec()
	case k.Subresource == "portforward" && pod:
		return r.forward()
	case k.Subresource == "exec", k.Subresource == "attach", k.Subresource == "portforward":
		return fmt.Errorf("%s of something that is no pod", k.Subresource)
	}
	return nil
}

// session is what exec, attach and port-forward have in common: GET for a WebSocket, POST for SPDY. RBAC asks for
// create of both (Kubernetes 1.35), and so do rules.
func (r *Request) session() error {
	if r.Method != http.MethodGet && r.Method != http.MethodPost {
		return fmt.Errorf("%w: %s of %s", ErrMethod, r.Method, r.Kubernetes.Subresource)
	}
	r.Kubernetes.Verb, r.Kubernetes.ReadOnly = "create", false
	return nil
}

func (r *Request) exec() error {
	if err := r.session(); err != nil {
		return err
	}
	e := &Exec{Attach: r.Kubernetes.Subresource == "attach"}
	canonical := url.Values{}
	for name, values := range r.Query {
		flag := map[string]*bool{"stdin": &e.Stdin, "stdout": &e.Stdout, "stderr": &e.Stderr, "tty": &e.TTY}[name]
		switch {
		case flag != nil:
			*flag = boolean(values[0])
			canonical.Set(name, strconv.FormatBool(*flag))
		case name == "container":
			e.Container = values[0]
			if e.Container != "" {
				canonical.Set(name, e.Container)
			}
		case name == "command" && !e.Attach:
			e.Command = values
			canonical[name] = values
		default:
			return fmt.Errorf("the parameter %q, which %s does not have", name, r.Kubernetes.Subresource)
		}
	}
	switch {
	case len(e.Command) > maxWords:
		return fmt.Errorf("a command of %d words, more than %d", len(e.Command), maxWords)
	case !e.Attach && len(e.Command) == 0:
		return fmt.Errorf("an exec of no command")
	case strings.Contains(e.Container, "*"):
		return fmt.Errorf("the container %q, which has a star in it", e.Container)
	}
	for _, word := range e.Command {
		if strings.Contains(word, "\x00") {
			return fmt.Errorf("a command with a NUL in it")
		}
	}
	r.Query, r.Exec = canonical, e
	k := &r.Kubernetes
	k.Container, k.TTY, k.Stdin = e.Container, e.TTY, e.Stdin
	return nil
}

func (r *Request) forward() error {
	if err := r.session(); err != nil {
		return err
	}
	k := &r.Kubernetes
	canonical := url.Values{}
	for name, values := range r.Query {
		if name != "ports" {
			return fmt.Errorf("the parameter %q, which portforward does not have", name)
		}
		for _, list := range values {
			for text := range strings.SplitSeq(list, ",") {
				port, err := strconv.ParseUint(text, 10, 16)
				if err != nil || port == 0 {
					return fmt.Errorf("%q is not a port", text)
				}
				k.Ports = append(k.Ports, uint16(port))
				canonical.Add(name, strconv.FormatUint(port, 10))
			}
		}
	}
	if len(k.Ports) > maxPorts {
		return fmt.Errorf("%d ports, more than %d", len(k.Ports), maxPorts)
	}
	r.Query, r.Forward = canonical, true
	k.Opening = len(k.Ports) == 0
	return nil
}
