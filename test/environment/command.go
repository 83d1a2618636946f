// Package environment is a real cluster with Chaperone in it, as the end-to-end suite and the demo use it:
// kubectl, Helm and the plugin run as a person would run them.
package environment

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Environment knows where the cluster and the tools are.
type Environment struct {
	// Root is the top of the repository.
	Root string
	// Kubeconfig is the administrator's.
	Kubeconfig string
	// path is PATH for every command: our own tools first.
	path string
}

// Open finds the repository and the cluster that KUBECONFIG names, or the one that hack/cluster started.
func Open() (*Environment, error) {
	root, err := repositoryRoot()
	if err != nil {
		return nil, err
	}
	state := os.Getenv("CHAPERONE_CLUSTER_DIR")
	if state == "" {
		state = filepath.Join(root, ".cluster")
	}
	e := &Environment{
		Root:       root,
		Kubeconfig: os.Getenv("KUBECONFIG"),
		path:       strings.Join([]string{filepath.Join(root, "bin"), filepath.Join(state, "path"), os.Getenv("PATH")}, ":"),
	}
	if e.Kubeconfig == "" {
		e.Kubeconfig = filepath.Join(state, "kubeconfig")
	}
	if _, err := os.Stat(e.Kubeconfig); err != nil {
		return nil, fmt.Errorf("no cluster: %w; start one with `make cluster-up`, or set KUBECONFIG", err)
	}
	return e, nil
}

func repositoryRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; dir != "/"; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "PROJECT")); err == nil {
			return dir, nil
		}
	}
	return "", errors.New("not inside the repository: no PROJECT file above the working directory")
}

// Result is what a command printed. Output holds both streams as they came.
type Result struct {
	Stdout, Output string
	Code           int
}

// Run runs a command with our PATH and KUBECONFIG. The error holds what the command printed.
func (e *Environment) Run(ctx context.Context, stdin string, argv ...string) (Result, error) {
	return e.run(ctx, e.Kubeconfig, stdin, argv...)
}

func (e *Environment) run(ctx context.Context, kubeconfig, stdin string, argv ...string) (Result, error) {
	cmd := exec.CommandContext(ctx, e.LookPath(argv[0]), argv[1:]...)
	cmd.Dir = e.Root
	cmd.Env = append(os.Environ(), "KUBECONFIG="+kubeconfig, "PATH="+e.path)
	cmd.Stdin = strings.NewReader(stdin)
	cmd.WaitDelay = 5 * time.Second
	var stdout bytes.Buffer
	var output lockedBuffer
	cmd.Stdout = writers{&stdout, &output}
	cmd.Stderr = &output
	err := cmd.Run()
	result := Result{Stdout: stdout.String(), Output: output.String(), Code: cmd.ProcessState.ExitCode()}
	if err != nil {
		return result, fmt.Errorf("%s: %w\n%s", strings.Join(argv, " "), err, result.Output)
	}
	return result, nil
}

// LookPath resolves a program in our PATH rather than in the caller's.
func (e *Environment) LookPath(name string) string {
	if strings.Contains(name, "/") {
		return name
	}
	for _, dir := range filepath.SplitList(e.path) {
		full := filepath.Join(dir, name)
		if info, err := os.Stat(full); err == nil && !info.IsDir() && info.Mode()&0o111 != 0 {
			return full
		}
	}
	return name
}

// Kubectl runs kubectl as the administrator.
func (e *Environment) Kubectl(ctx context.Context, args ...string) (Result, error) {
	return e.Run(ctx, "", append([]string{"kubectl"}, args...)...)
}

// Apply applies manifests as the administrator.
func (e *Environment) Apply(ctx context.Context, manifests string) (Result, error) {
	return e.Run(ctx, manifests, "kubectl", "apply", "-f", "-")
}
