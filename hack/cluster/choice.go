package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/chaperone-dev/chaperone/hack/cluster/folder"
)

// choice says which cluster is meant; the variable CLUSTER holds it.
type choice string

const (
	local   choice = "local"
	current choice = "current"
	kind    choice = "kind"
)

// kindCluster is the name of the one that CLUSTER=kind makes.
const kindCluster = "chaperone"

func chosen() (choice, error) {
	switch c := choice(os.Getenv("CLUSTER")); c {
	case "":
		return local, nil
	case local, current, kind:
		return c, nil
	default:
		return "", fmt.Errorf("CLUSTER=%s: it is local, current or kind", c)
	}
}

// kubeconfig is the file to reach the chosen cluster with.
func (c choice) kubeconfig(f folder.Folder) string {
	if c != current {
		return f.Kubeconfig()
	}
	if path := os.Getenv("KUBECONFIG"); path != "" {
		return path
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return ""
	}
	return filepath.Join(home, ".kube", "config")
}

// kubectlProgram is the cluster's own where it was built, else the host's.
func kubectlProgram(f folder.Folder) (string, error) {
	own := filepath.Join(f.Path(), "kubectl")
	if _, err := os.Stat(own); err == nil {
		return own, nil
	}
	found, err := exec.LookPath("kubectl")
	if err != nil {
		return "", errors.New("no kubectl: install it, or run `go run . build` here, which builds one")
	}
	return found, nil
}

// reachable asks the chosen cluster's API server whether it is ready.
func (c choice) reachable(ctx context.Context, f folder.Folder) error {
	kubectl, err := kubectlProgram(f)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, kubectl, "get", "--raw=/readyz", "--request-timeout=10s")
	cmd.Env = append(os.Environ(), "KUBECONFIG="+c.kubeconfig(f))
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("no answer from the cluster of %s: %s", c.kubeconfig(f), strings.TrimSpace(string(out)))
	}
	return nil
}

// kindCommand runs kind, telling what it does as it goes.
func kindCommand(ctx context.Context, args ...string) error {
	if _, err := exec.LookPath("kind"); err != nil {
		return errors.New("CLUSTER=kind needs kind and Docker: https://kind.sigs.k8s.io/docs/user/quick-start")
	}
	cmd := exec.CommandContext(ctx, "kind", append(args, "--name", kindCluster)...)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("kind %s: %w", args[0], err)
	}
	return nil
}
