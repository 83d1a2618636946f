package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/chaperone-dev/chaperone/test/environment"
)

const namespace = "chaperone-bench"

// manifests are a policy such as people write, an account that may do everything in the namespace, and a container to run
// things in.
const manifests = `apiVersion: v1
kind: Namespace
metadata: {name: ` + namespace + `}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: agent, namespace: ` + namespace + `}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: admin}
subjects: [{kind: ServiceAccount, name: default, namespace: ` + namespace + `}]
---
apiVersion: chaperone.dev/v1alpha1
kind: AgentPolicy
metadata: {name: ops, namespace: ` + namespace + `}
spec:
  podSelector: {matchLabels: {app: agent}}
  targets:
  - name: cluster
    kubernetes:
      rules:
      - {name: no-deletes, match: {verbs: [delete, deletecollection]}, action: Deny}
      - {name: no-removal, match: {resources: [pods/exec], programs: [rm, shred, dd]}, action: Deny}
      - {name: looking, match: {resources: [pods/exec], programs: ["true", cat, head, tar, wc]}, action: Allow}
      - {name: reads, match: {verbs: [get, list, watch], resources: [pods, configmaps]}, action: Allow}
      masking:
      - detectors: [CreditCard, Email]
---
`

// resident is a pod that only waits.
func resident(name string) string {
	return fmt.Sprintf(`apiVersion: v1
kind: Pod
metadata: {name: %[1]s, namespace: %[2]s, labels: {app: %[1]s}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - {name: main, image: "localhost/chaperone/toolbox:dev", imagePullPolicy: IfNotPresent, command: [sleep, infinity]}
---
`, name, namespace)
}

// deploy makes the namespace anew, and waits for its pods.
func deploy(ctx context.Context, env *environment.Environment) error {
	if _, err := env.Kubectl(ctx, "delete", "namespace", namespace, "--ignore-not-found"); err != nil {
		return err
	}
	if _, err := env.Apply(ctx, manifests); err != nil {
		return err
	}
	if _, err := env.Kubectl(ctx, "wait", "-n", namespace, "serviceaccount/default", "--for=create", "--timeout=60s"); err != nil {
		return err
	}
	if _, err := env.Apply(ctx, resident("worker")+resident("free")+resident("agent")); err != nil {
		return err
	}
	_, err := env.Kubectl(ctx, "wait", "-n", namespace, "pod/worker", "pod/free", "pod/agent", "--for=condition=Ready", "--timeout=120s")
	return err
}

// pod is one in which the client waits for work.
type pod struct {
	name  string
	cmd   *exec.Cmd
	tell  io.WriteCloser
	lines *bufio.Scanner
}

// start brings the client into the pod, and starts it.
func start(ctx context.Context, env *environment.Environment, name, program string) (*pod, error) {
	if _, err := env.Kubectl(ctx, "cp", "-n", namespace, "-c", "main", program, name+":/tmp/client"); err != nil {
		return nil, err
	}
	p := &pod{name: name, cmd: exec.CommandContext(ctx, env.LookPath("kubectl"), "exec", "-i", "-n", namespace, name, "-c", "main", "--", "/tmp/client")}
	p.cmd.Env = append(os.Environ(), "KUBECONFIG="+env.Kubeconfig)
	p.cmd.Stderr = os.Stderr
	var err error
	if p.tell, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.lines = bufio.NewScanner(out)
	return p, p.cmd.Start()
}

// exec has the client do its work in one way, and returns how long that took.
func (p *pod) exec(way string) (time.Duration, error) {
	if _, err := fmt.Fprintln(p.tell, way); err != nil {
		return 0, err
	}
	if !p.lines.Scan() {
		return 0, errors.Join(errors.New("the client ended"), p.lines.Err())
	}
	took, err := strconv.ParseInt(strings.TrimSpace(p.lines.Text()), 10, 64)
	if err != nil {
		return 0, errors.New(p.lines.Text())
	}
	return time.Duration(took), nil
}

func (p *pod) end() {
	p.tell.Close()
	_ = p.cmd.Wait()
}
