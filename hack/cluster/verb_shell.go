package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/chaperone-dev/chaperone/hack/cluster/folder"
	"github.com/chaperone-dev/chaperone/hack/cluster/node"
	"github.com/chaperone-dev/chaperone/hack/cluster/supervisor"
)

func shellVerb(ctx context.Context, args []string) error {
	f, c, err := reached(ctx)
	if err != nil {
		return err
	}
	path := f.Path() + ":" + filepath.Join(f.Source, "..", "..", "bin") + ":" + os.Getenv("PATH")
	if err := os.Setenv("PATH", path); err != nil {
		return fmt.Errorf("setting PATH: %w", err)
	}
	if err := os.Setenv("KUBECONFIG", c.kubeconfig(f)); err != nil {
		return fmt.Errorf("setting KUBECONFIG: %w", err)
	}
	return become(words(args))
}

func nodeVerb(ctx context.Context, args []string) error {
	enter, err := enterNode(ctx)
	if err != nil {
		return err
	}
	return become(append(enter, words(args)...))
}

func outsideVerb(ctx context.Context, args []string) error {
	enter, err := enterNode(ctx)
	if err != nil {
		return err
	}
	enter = append(enter, "nsenter", "--net="+node.OutsideNetwork, "--")
	return become(append(enter, words(args)...))
}

// reached is the folder and the chosen cluster, which must be there.
func reached(ctx context.Context) (folder.Folder, choice, error) {
	f, err := folder.Find()
	if err != nil {
		return f, "", err
	}
	c, err := chosen()
	if err != nil {
		return f, "", err
	}
	return f, c, c.reachable(ctx, f)
}

// enterNode is a command line that another can be added to, which then runs in
// all of the node's namespaces.
func enterNode(ctx context.Context) ([]string, error) {
	f, c, err := reached(ctx)
	if err != nil {
		return nil, err
	}
	if c != local {
		return nil, errors.New("only the local cluster's node can be entered")
	}
	pid, err := supervisor.NodeProcess(f)
	if err != nil {
		return nil, err
	}
	env := []string{"env"}
	env = append(env, node.New(f).Environment()...)
	env = append(env, "KUBECONFIG="+f.Kubeconfig(), "CONTAINERD_ADDRESS="+f.ContainerdSocket(), "CONTAINERD_NAMESPACE=k8s.io")
	return append([]string{"nsenter", "--target", strconv.Itoa(pid), "--mount", "--uts", "--ipc", "--net", "--pid", "--"}, env...), nil
}

// words are those after a leading "--", or the user's shell.
func words(args []string) []string {
	if len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	if len(args) > 0 {
		return args
	}
	if shell := os.Getenv("SHELL"); shell != "" {
		return []string{shell}
	}
	return []string{"/bin/sh"}
}

// become replaces this process, so that signals, the terminal and the exit
// status are the other's own.
func become(words []string) error {
	program, err := exec.LookPath(words[0])
	if err != nil {
		return err
	}
	if err := syscall.Exec(program, words, os.Environ()); err != nil {
		return fmt.Errorf("starting %s: %w", program, err)
	}
	return nil
}
