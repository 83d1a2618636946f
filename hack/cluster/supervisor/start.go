package supervisor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/chaperone-dev/chaperone/hack/cluster/cgroup"
	"github.com/chaperone-dev/chaperone/hack/cluster/folder"
)

// logTail is how many lines of a log are shown when its program does not run.
const logTail = 30

// stopTimeout is how long Stop waits before it kills.
const stopTimeout = 10 * time.Second

// Start starts the supervisor and returns when the cluster is ready. say is
// told what it is at.
func Start(ctx context.Context, f folder.Folder, say func(format string, args ...any)) error {
	if err := Clear(f); err != nil {
		return err
	}
	for _, dir := range []string{f.State(), filepath.Dir(f.Log(""))} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("preparing the cluster's folder: %w", err)
		}
	}
	if err := emptyLogs(f); err != nil {
		return err
	}
	self, err := installSelf(f)
	if err != nil {
		return err
	}
	log, err := os.OpenFile(f.Log("supervisor"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("opening the supervisor's log: %w", err)
	}
	defer log.Close()
	cmd := exec.Command(self, Verb, f.Root, f.Source)
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting the supervisor: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	return await(ctx, f, ended, say)
}

func await(ctx context.Context, f folder.Folder, ended <-chan error, say func(format string, args ...any)) error {
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return errors.Join(errors.New("interrupted; what had started is stopped"), Stop(f))
		case <-ended:
			return errors.Join(failure(f), Stop(f))
		case <-ticker.C:
		}
		if phase, err := os.ReadFile(f.State("phase")); err == nil {
			say("%s", phase)
		}
		if _, err := os.Stat(f.State("ready")); err == nil {
			return nil
		}
	}
}

// failure tells why the node ended, with the end of the log that says more.
func failure(f folder.Folder) error {
	name, reason := "supervisor", "the node ended"
	if data, err := os.ReadFile(f.State("failure")); err == nil {
		program, text, _ := strings.Cut(string(data), "\n")
		reason = text
		if program != "" {
			name = program
		}
	}
	tail := ""
	if data, err := os.ReadFile(f.Log(name)); err == nil {
		lines := strings.Split(strings.TrimRight(string(data), "\n"), "\n")
		tail = strings.Join(lines[max(0, len(lines)-logTail):], "\n")
	}
	return fmt.Errorf("%s\nthe end of %s:\n%s", reason, f.Log(name), tail)
}

// installSelf copies the running program to where it stays: `go run` removes
// its own copy.
func installSelf(f folder.Folder) (string, error) {
	source, err := os.Open("/proc/self/exe")
	if err != nil {
		return "", fmt.Errorf("copying the supervisor: %w", err)
	}
	defer source.Close()
	target := f.Bin("supervisor")
	// Written beside and renamed, since a program that runs cannot be written.
	copied, err := os.OpenFile(target+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o755)
	if err != nil {
		return "", fmt.Errorf("copying the supervisor: %w", err)
	}
	_, err = io.Copy(copied, source)
	if err = errors.Join(err, copied.Close()); err != nil {
		return "", fmt.Errorf("copying the supervisor: %w", err)
	}
	if err := os.Rename(target+".new", target); err != nil {
		return "", fmt.Errorf("copying the supervisor: %w", err)
	}
	return target, nil
}

func emptyLogs(f folder.Folder) error {
	logs, err := filepath.Glob(f.Log("*"))
	if err != nil {
		return fmt.Errorf("listing logs: %w", err)
	}
	for _, log := range logs {
		if err := os.RemoveAll(log); err != nil {
			return fmt.Errorf("removing an old log: %w", err)
		}
	}
	return nil
}

// Stop ends the supervisor, if it runs, and clears away all that is left.
func Stop(f folder.Folder) error {
	pid, err := Running(f)
	if err != nil {
		return err
	}
	if pid != 0 {
		if err := end(f, pid); err != nil {
			return err
		}
	}
	return Clear(f)
}

func end(f folder.Folder, pid int) error {
	deadline := time.Now().Add(stopTimeout)
	signal := unix.SIGTERM
	for {
		if err := unix.Kill(pid, signal); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("stopping the supervisor: %w", err)
		}
		for range 10 {
			if running, err := Running(f); err != nil || running == 0 {
				return err
			}
			time.Sleep(20 * time.Millisecond)
		}
		if time.Now().After(deadline) {
			if signal == unix.SIGKILL {
				return fmt.Errorf("the supervisor, process %d, does not end", pid)
			}
			signal, deadline = unix.SIGKILL, time.Now().Add(stopTimeout)
		}
	}
}

// Clear removes what a run leaves: its control groups, its state and its
// kubeconfig. Its processes, mounts and networks ended with its process 1.
func Clear(f folder.Folder) error {
	groups, err := cgroup.Mounted()
	if err != nil {
		return err
	}
	if err := groups.Remove(f.Cgroup()); err != nil {
		return err
	}
	// A node whose supervisor was killed may still be ending.
	for tries := 0; ; tries++ {
		err := os.RemoveAll(f.State())
		if err == nil {
			break
		}
		if tries == 50 {
			return fmt.Errorf("removing the cluster's state: %w", err)
		}
		time.Sleep(50 * time.Millisecond)
	}
	if err := os.Remove(f.Kubeconfig()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("removing the cluster's kubeconfig: %w", err)
	}
	return nil
}
