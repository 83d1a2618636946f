package main

import (
	"context"
	_ "embed"
	"strings"
	"time"

	"github.com/chaperone-dev/chaperone/test/environment"
)

//go:embed manifests/ops.yaml
var ops string

// ops is the other agent running a command in its own container.
func (s *story) ops(ctx context.Context, command string, expected ...string) error {
	output := s.in(ctx, "ops-agent", command)
	s.show("agent", command, output)
	return expect(output, expected...)
}

func (s *story) cluster(ctx context.Context, dana *environment.User) error {
	s.chapter("6. The cluster itself")
	s.sayf("Another agent looks after pods, with kubectl and the service account of its pod, whose token only the sidecar has.")
	if _, err := s.kubectl(ctx, []string{"apply", "-f", "config/samples/cluster.yaml"}, `agentpolicy.*cluster created`); err != nil {
		return err
	}
	if _, err := s.env.Apply(ctx, ops); err != nil {
		return err
	}
	s.show("admin", "kubectl apply -f test/demo/manifests/ops.yaml", "deployment.apps/ops-agent created")
	if err := s.env.RolledOut(ctx, "agents", "deployment/ops-agent", 2*time.Minute); err != nil {
		return err
	}
	if _, err := s.env.Kubectl(ctx, "wait", "-n", "prod", "pod/shop-web", "--for=condition=Ready", "--timeout=90s"); err != nil {
		return err
	}
	if err := s.ops(ctx, "kubectl get pod shop-web -n prod", `shop-web\s+1/1\s+Running`); err != nil {
		return err
	}
	s.sayf("Its account may delete pods and read Secrets. The policy lets it do neither.")
	if err := s.ops(ctx, "kubectl delete pod shop-web -n prod", `agents remove nothing`, `no-deletes`, `agents/cluster`); err != nil {
		return err
	}
	if err := s.ops(ctx, "kubectl get secret shop-web -n prod -o jsonpath='{.data.session-key}' | base64 -d; echo", `masked by chaperone`, `!sesame`); err != nil {
		return err
	}
	s.sayf("An exec waits for a human, who sees the command. What it prints is masked.")
	const command = "kubectl exec shop-web -n prod -- cat /tmp/last-order"
	output, err := s.held(ctx, dana, command, "looking at order 17", func() string { return s.in(ctx, "ops-agent", command) })
	if err != nil {
		return err
	}
	s.show("agent", command, output)
	if err := expect(output, `order 17 by`, `!ada@analytical`, `!9015`); err != nil {
		return err
	}
	return s.replayedExec(ctx, dana)
}

// replayedExec shows what was recorded of it.
func (s *story) replayedExec(ctx context.Context, dana *environment.User) error {
	var name string
	if err := eventually(ctx, 30*time.Second, "the recording", func() (bool, error) {
		got, err := dana.Kubectl(ctx, "get", "sessionrecordings", "-n", "agents", "-o",
			`jsonpath={.items[?(@.spec.target=="cluster")].metadata.name}`)
		name = strings.TrimSpace(got.Stdout)
		return name != "" && !strings.Contains(name, " "), err
	}); err != nil {
		return err
	}
	return eventually(ctx, 30*time.Second, "the exec in the recording", func() (bool, error) {
		replayed, err := dana.Kubectl(ctx, "chaperone", "replay", name, "-n", "agents", "--no-timing")
		if err != nil {
			return false, err
		}
		if err := expect(replayed.Output, `last-order`, `order 17 by`, `no-deletes`, `dana`, `!ada@analytical`, `!sesame`); err != nil {
			return false, err
		}
		s.show("dana", "kubectl chaperone replay "+name+" -n agents --no-timing", replayed.Output)
		return true, nil
	})
}
