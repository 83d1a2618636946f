// Command cluster measures a get and an exec as an agent in a real cluster has them: an exec goes through API server, kubelet,
// containerd and runc. Two pods are alike but for the policy that selects one of them; in turns each does the same thing, and
// takes the time itself.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/chaperone-dev/chaperone/test/bench/measured"
	"github.com/chaperone-dev/chaperone/test/bench/process"
	"github.com/chaperone-dev/chaperone/test/environment"
)

// ways are what is done and how, as the client names them.
var ways = []string{
	"get by client-go", "get by kubectl",
	"exec by client-go over WebSocket", "exec by client-go over SPDY", "exec by kubectl over WebSocket", "exec by kubectl over SPDY",
}

// warmUp is how often each pod does it before it counts.
const warmUp = 5

func main() { process.Main(200, bench) }

func bench(ctx context.Context, o *process.Options) (text string, err error) {
	if o.Profile != "" {
		return "", errors.New("a pod's sidecar writes no profile; `make bench-kube` has one")
	}
	env, err := environment.Open()
	if err != nil {
		return "", err
	}
	folder, err := os.MkdirTemp("", "chaperone-bench-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(folder)
	program := filepath.Join(folder, "client")
	if err := measured.Build(ctx, "github.com/chaperone-dev/chaperone/test/bench/kube/cluster/client", program); err != nil {
		return "", err
	}
	defer func() {
		_, derr := env.Kubectl(context.WithoutCancel(ctx), "delete", "namespace", namespace, "--ignore-not-found", "--wait=false")
		err = errors.Join(err, derr)
	}()
	if err := deploy(ctx, env); err != nil {
		return "", err
	}
	var pods []*pod
	defer func() {
		for _, p := range pods {
			p.end()
		}
	}()
	for _, name := range []string{"free", "agent"} {
		p, err := start(ctx, env, name, program)
		if err != nil {
			return "", fmt.Errorf("pod %s: %w", name, err)
		}
		pods = append(pods, p)
	}
	text = fmt.Sprintf("%s; %d times in turns; `%s`\n\n", process.Machine(), o.Rounds, process.Command("kube/cluster")) +
		"| case | direct, median | sidecar, median | **sidecar / direct** |\n|---|---:|---:|---:|\n"
	for _, way := range ways {
		if !o.Run.MatchString(way) {
			continue
		}
		row, err := measure(way, pods[0], pods[1], o.Rounds)
		if err != nil {
			return "", err
		}
		fmt.Fprintln(os.Stderr, row)
		text += row + "\n"
	}
	return text, nil
}

// measure lets both pods take turns, and returns a row of the table.
func measure(way string, direct, through *pod, times int) (string, error) {
	took := make(map[*pod][]float64)
	for i := range warmUp + times {
		turns := []*pod{direct, through}
		if i%2 == 1 {
			turns = []*pod{through, direct}
		}
		for _, p := range turns {
			d, err := p.exec(way)
			if err != nil {
				return "", fmt.Errorf("pod %s: %w", p.name, err)
			}
			if i >= warmUp {
				took[p] = append(took[p], float64(d.Microseconds())/1e3)
			}
		}
	}
	d, t := process.Median(took[direct]), process.Median(took[through])
	return fmt.Sprintf("| %s | %.1f ms | %.1f ms | **%.2f** |", way, d, t, t/d), nil
}
