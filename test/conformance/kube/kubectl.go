package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/chaperone-dev/chaperone/test/conformance/difference"
)

// patience is for one command of a case: a gigabyte in both ways is one.
const patience = 5 * time.Minute

// caseNames are the files of cases, in the order in which they run.
var caseNames = []string{"objects", "workloads", "sessions", "cluster"}

// tool is the kubectl that a suite runs, with what its environment says.
type tool struct {
	path        string
	environment []string
}

func runKubectl(ctx context.Context, l *lab) (difference.Report, error) {
	return l.runScripts(ctx, tool{path: l.environment.LookPath("kubectl")}, func(script) bool { return true })
}

// runKubectlOverSPDY takes the cases whose transport it changes.
func runKubectlOverSPDY(ctx context.Context, l *lab) (difference.Report, error) {
	spdy := []string{"KUBECTL_REMOTE_COMMAND_WEBSOCKETS=false", "KUBECTL_PORT_FORWARD_WEBSOCKETS=false"}
	return l.runScripts(ctx, tool{l.environment.LookPath("kubectl"), spdy}, func(s script) bool { return s.session })
}

// runOldKubectl takes a kubectl from before WebSocket was its default.
func runOldKubectl(ctx context.Context, l *lab) (difference.Report, error) {
	path := filepath.Join(l.folder, "old", "kubectl")
	build := exec.CommandContext(ctx, "go", "build", "-o", path, ".")
	build.Dir = filepath.Join(l.environment.Root, "test/conformance/kube/oldkubectl")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("building an old kubectl: %w: %s", err, out)
	}
	return l.runScripts(ctx, tool{path: path}, func(script) bool { return true })
}

// runScripts runs the cases one after another, each on both sides at once.
func (l *lab) runScripts(ctx context.Context, with tool, wanted func(script) bool) (difference.Report, error) {
	out := make(difference.Report)
	for _, file := range caseNames {
		scripts, err := readCases(file)
		if err != nil {
			return nil, fmt.Errorf("cases/%s.txt: %w", file, err)
		}
		prepared := false
		for _, s := range scripts {
			// A file's first case may be the set-up of those behind it.
			setup := s.name == file+" set-up"
			if !setup && (!wanted(s) || !strings.Contains(s.name, l.only)) {
				continue
			}
			if setup {
				if !anyWanted(scripts[1:], func(s script) bool { return wanted(s) && strings.Contains(s.name, l.only) }) {
					continue
				}
				prepared = true
			}
			result, err := l.compare(ctx, s, with)
			if err != nil {
				return nil, err
			}
			if setup && result.Differs {
				return nil, fmt.Errorf("%s: the set-up differs", file)
			}
			out[s.name] = result
		}
		if prepared {
			for _, s := range []*side{l.direct, l.through} {
				if _, _, err := s.run(ctx, "kubectl delete all,configmaps,secrets,ingresses,pvc --all --wait=false >/dev/null 2>&1; kubectl wait --for=delete pods --all --timeout=60s >/dev/null 2>&1", with); err != nil {
					return nil, err
				}
			}
		}
	}
	return out, nil
}

func anyWanted(scripts []script, wanted func(script) bool) bool {
	for _, s := range scripts {
		if wanted(s) {
			return true
		}
	}
	return false
}

// compare runs a case on both sides.
func (l *lab) compare(ctx context.Context, s script, with tool) (difference.Result, error) {
	var transcripts [2]string
	var failures [2]error
	var both sync.WaitGroup
	for i, at := range []*side{l.direct, l.through} {
		both.Go(func() { transcripts[i], failures[i] = at.transcript(ctx, s, with) })
	}
	both.Wait()
	if err := errors.Join(failures[:]...); err != nil {
		return difference.Result{}, fmt.Errorf("%s: %w", s.name, err)
	}
	return l.judge(s.name, transcripts[0], transcripts[1]), nil
}

// judge compares what two sides printed, and shows what differs where that is news.
func (l *lab) judge(name, direct, through string) difference.Result {
	result := difference.Result{Differs: direct != through, Refusals: refusals(through)}
	if _, known := l.listed[name]; result.Differs && (!known || l.verbose) {
		fmt.Printf("-- %s: past the sidecar\n%s-- %s: through it\n%s", name, direct, name, through)
	}
	return result
}

// refusals are the sidecar's own messages in what was printed.
func refusals(text string) map[string]struct{} {
	out := make(map[string]struct{})
	for line := range strings.Lines(text) {
		if strings.Contains(line, "Chaperone") {
			out[strings.TrimSpace(line)] = struct{}{}
		}
	}
	return out
}

// transcript runs a case's commands and writes down what each printed and how it ended.
func (s *side) transcript(ctx context.Context, c script, with tool) (string, error) {
	var out strings.Builder
	for line := range strings.Lines(c.text) {
		line = strings.TrimSpace(line)
		output, code, err := s.run(ctx, line, with)
		if err != nil {
			return "", fmt.Errorf("%s: %s: %w", s.name, line, err)
		}
		fmt.Fprintf(&out, "$ %s\n%s(exit %d)\n", line, s.normalise(output), code)
	}
	return out.String(), nil
}

// run runs one shell command line; what it prints on standard error is marked by 2>.
func (s *side) run(ctx context.Context, line string, with tool) (output string, code int, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	bin := filepath.Join(s.folder, "bin")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return "", 0, err
	}
	if err := os.Symlink(with.path, filepath.Join(bin, "kubectl.new")); err != nil {
		return "", 0, err
	}
	if err := os.Rename(filepath.Join(bin, "kubectl.new"), filepath.Join(bin, "kubectl")); err != nil {
		return "", 0, err
	}
	cmd := exec.CommandContext(ctx, "bash", "-o", "pipefail", "-c", line)
	cmd.Dir = s.folder
	cmd.Env = append(os.Environ(), "KUBECONFIG="+s.kubeconfig, "HOME="+s.folder, "NS="+s.namespace, "LC_ALL=C.UTF-8",
		"SERVER="+s.config.Host, "PATH="+bin+":"+os.Getenv("PATH"))
	cmd.Env = append(cmd.Env, with.environment...)
	cmd.WaitDelay = 5 * time.Second
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err = cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return "", 0, err
	}
	output = ended(stdout.String())
	for l := range strings.Lines(ended(stderr.String())) {
		output += "2> " + l
	}
	if ctx.Err() != nil {
		output += "(no end)\n"
	}
	return output, cmd.ProcessState.ExitCode(), nil
}

func ended(text string) string {
	if text != "" && !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	return text
}
