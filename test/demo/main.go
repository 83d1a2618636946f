// Command demo tells Chaperone's story on a real cluster: it builds one, installs the chart, starts a database and
// an agent, and shows what the agent can do, cannot do, waits for and does not see. It exits non-zero when a step
// does not show what it should. KEEP=1 leaves the cluster up.
package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/chaperone-dev/chaperone/test/environment"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	keep := os.Getenv("KEEP") == "1"
	if err := demo(ctx, keep); err != nil {
		fmt.Fprintf(os.Stderr, "\nThe demo failed: %v\n", err)
		if !keep {
			fmt.Fprintln(os.Stderr, "Run it again with KEEP=1 to look around afterwards.")
		}
		os.Exit(1)
	}
}

func demo(ctx context.Context, keep bool) (err error) {
	began := time.Now()
	fmt.Println("Preparing: a Kubernetes cluster, the images, the chart. The first time this compiles Kubernetes.")
	defer func() {
		if keep {
			return
		}
		fmt.Println("\nCleaning up (KEEP=1 would leave the cluster up).")
		if downErr := mk(context.Background(), "cluster-down"); downErr != nil && err == nil {
			err = downErr
		}
	}()
	for _, target := range []string{"build", "cluster-up", "images", "deploy"} {
		if err := mk(ctx, target); err != nil {
			return err
		}
	}
	env, err := environment.Open()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "chaperone-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	s := &story{env: env, out: os.Stdout}
	if err := s.stage(ctx); err != nil {
		return err
	}
	fmt.Printf("\nPrepared in %s. The story begins.\n", time.Since(began).Round(time.Second))
	if err := s.tell(ctx, dir); err != nil {
		return err
	}
	if keep {
		fmt.Printf("\nThe cluster is still there:\n  export KUBECONFIG=%s PATH=%s:$PATH\n  kubectl get pods -A\n"+
			"Run an agent's statement:\n  kubectl exec -n agents deploy/billing-agent -c agent -- psql 'host=%s dbname=billing user=agent' -c 'SELECT 1'\n"+
			"Stop it with `make cluster-down`.\n", env.Kubeconfig, filepath.Join(env.Root, "bin"), databaseHost)
	}
	return nil
}

// mk runs a target of the Makefile and shows its output.
func mk(ctx context.Context, target string) error {
	cmd := exec.CommandContext(ctx, "make", "--no-print-directory", target)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("make %s: %w", target, err)
	}
	return nil
}
