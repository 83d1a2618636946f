package main

import (
	"context"
	"regexp"
	"strings"
	"time"

	"github.com/chaperone-dev/chaperone/test/environment"
)

var terminated = regexp.MustCompile(`(?m)^command terminated with exit code \d+\n`)

// in runs a command in the container of an agent and returns both its streams in the order of what it wrote. Its status
// is not looked at, because some are refused.
func (s *story) in(ctx context.Context, deployment, command string) string {
	result, _ := s.env.Kubectl(ctx, "exec", "-n", "agents", "deploy/"+deployment, "-c", "agent", "--", "sh", "-c", "exec 2>&1; "+command)
	return terminated.ReplaceAllString(result.Output, "")
}

// held shows a command that waits for a human until dana approves it with the plugin, and returns what it printed.
// run runs it; shown is how somebody typed it.
func (s *story) held(ctx context.Context, dana *environment.User, shown, reason string, run func() string) (string, error) {
	answered := make(chan string, 1)
	go func() { answered <- run() }()
	s.show("agent", shown+"        # waits", "")
	var name string
	if err := eventually(ctx, 30*time.Second, "the approval request", func() (bool, error) {
		got, err := dana.Kubectl(ctx, "get", "approvalrequests", "-n", "agents", "-o", `jsonpath={.items[?(@.status.phase=="Pending")].metadata.name}`)
		name = strings.TrimSpace(got.Stdout)
		return name != "", err
	}); err != nil {
		return "", err
	}
	select {
	case early := <-answered:
		return "", failure{"the command did not wait:\n" + early}
	default:
	}
	approved, err := dana.Kubectl(ctx, "chaperone", "approve", name, "-n", "agents", "--reason", reason)
	s.show("dana", "kubectl chaperone approve "+name+" -n agents --reason '"+reason+"'", approved.Output)
	if err != nil {
		return "", err
	}
	select {
	case late := <-answered:
		return late, nil
	case <-time.After(60 * time.Second):
		return "", failure{"the approved command did not end within a minute"}
	}
}
