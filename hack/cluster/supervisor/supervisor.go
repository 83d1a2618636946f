// Package supervisor keeps the node running after the command that started it
// has returned, and carries connections from the host into its network.
package supervisor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/chaperone-dev/chaperone/hack/cluster/cgroup"
	"github.com/chaperone-dev/chaperone/hack/cluster/folder"
)

// preferredPort is tried first, so that a kubeconfig written down somewhere
// stays true from one start to the next.
const preferredPort = 26443

// Verbs with which the program starts itself again.
const (
	// Verb is the supervisor's own.
	Verb = "supervise"
	// InitVerb is process 1's.
	InitVerb = "node-init"
	// NodeVerb is the node's.
	NodeVerb = "node-run"
)

// Supervise runs the node until ctx ends or the node does. self is the program
// that knows the verbs above, started with the folder as it is here.
func Supervise(ctx context.Context, f folder.Folder, self string) error {
	lock, err := lockRun(f)
	if err != nil {
		return err
	}
	defer lock.Close()
	groups, err := cgroup.Mounted()
	if err != nil {
		return err
	}
	if err := groups.Create(f.Cgroup()); err != nil {
		return err
	}
	listener, err := listen()
	if err != nil {
		return err
	}
	defer listener.Close()
	// The parent-death signal is sent when the thread that started the child
	// ends, not the process (prctl(2)).
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	node := exec.Command(self, InitVerb, f.Root, f.Source, listener.Addr().String())
	node.Stdout, node.Stderr = os.Stdout, os.Stderr
	node.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWPID | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC,
		Pdeathsig:  syscall.SIGKILL,
	}
	if err := node.Start(); err != nil {
		return fmt.Errorf("starting the node: %w", err)
	}
	if err := os.WriteFile(f.State("node.pid"), []byte(strconv.Itoa(node.Process.Pid)), 0o644); err != nil {
		return errors.Join(fmt.Errorf("noting the node's process: %w", err), node.Process.Kill(), node.Wait())
	}
	go carry(listener, node.Process.Pid)
	go func() {
		<-ctx.Done()
		// Process 1's end is the end of all of the node's processes, and its
		// mounts and network with them: nothing is left to stop in order.
		_ = node.Process.Kill() // it may have ended already
	}()
	err = node.Wait()
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("the node ended: %w", err)
}

// lockRun takes the lock that says that the cluster runs.
func lockRun(f folder.Folder) (*os.File, error) {
	lock, err := os.OpenFile(f.RunLock(), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", f.RunLock(), err)
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("the cluster is running already"), lock.Close())
	}
	if err := lock.Truncate(0); err != nil {
		return nil, errors.Join(fmt.Errorf("writing %s: %w", f.RunLock(), err), lock.Close())
	}
	if _, err := lock.WriteAt([]byte(strconv.Itoa(os.Getpid())), 0); err != nil {
		return nil, errors.Join(fmt.Errorf("writing %s: %w", f.RunLock(), err), lock.Close())
	}
	return lock, nil
}

// Running returns the supervisor's process id, or 0 when the cluster does not
// run. The lock ends with the process that holds it, so a crash leaves no lie.
func Running(f folder.Folder) (int, error) {
	lock, err := os.Open(f.RunLock())
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	} else if err != nil {
		return 0, fmt.Errorf("opening %s: %w", f.RunLock(), err)
	}
	defer lock.Close()
	switch err := unix.Flock(int(lock.Fd()), unix.LOCK_SH|unix.LOCK_NB); {
	case err == nil:
		return 0, nil
	case !errors.Is(err, unix.EWOULDBLOCK):
		return 0, fmt.Errorf("looking at %s: %w", f.RunLock(), err)
	}
	data, err := os.ReadFile(f.RunLock())
	if err != nil {
		return 0, fmt.Errorf("reading %s: %w", f.RunLock(), err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		return 0, fmt.Errorf("reading %s: %w", f.RunLock(), err)
	}
	return pid, nil
}

// NodeProcess is the node's process 1 as the host counts it.
func NodeProcess(f folder.Folder) (int, error) {
	data, err := os.ReadFile(f.State("node.pid"))
	if err != nil {
		return 0, fmt.Errorf("finding the node: %w", err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		return 0, fmt.Errorf("finding the node: %w", err)
	}
	return pid, nil
}

func listen() (net.Listener, error) {
	listener, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", preferredPort))
	if err == nil {
		return listener, nil
	}
	if listener, err = net.Listen("tcp4", "127.0.0.1:0"); err != nil {
		return nil, fmt.Errorf("listening for the API server: %w", err)
	}
	return listener, nil
}
