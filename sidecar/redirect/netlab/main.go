// Package netlab gives tests a pod's network namespace of their own and an outside world beyond it, in one
// process: rules are tested against the kernel that will carry them. Tests only; it needs root.
package netlab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
)

const marker = "CHAPERONE_NETLAB"

// Role is the variable that names what a process of Start does.
const Role = "CHAPERONE_NETLAB_ROLE"

// Main runs the package's tests in a network namespace (and a mount namespace) of their own: it is what TestMain calls. The test binary
// starts itself again in the new namespace, so that every thread of it is inside. Roles are what a process of Start
// does instead of testing.
func Main(m *testing.M, roles map[string]func() error) {
	if name := os.Getenv(Role); name != "" {
		if err := roles[name](); err != nil {
			fmt.Fprintln(os.Stderr, name+":", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if os.Getenv(marker) != "" {
		err := perform([]step{up("lo")})
		if err == nil {
			// Mounts that tests make are theirs alone.
			err = syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, "")
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "setting up the pod's namespaces:", err)
			os.Exit(1)
		}
		os.Exit(m.Run())
	}
	if os.Geteuid() != 0 {
		fmt.Fprintln(os.Stderr, "these tests program a kernel's packet filter in a network namespace of their own; run them as root")
		os.Exit(1)
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...) //nolint:gosec,noctx // G204: the same tests with the same arguments; they end with this process (Pdeathsig)
	cmd.Env = append(os.Environ(), marker+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		os.Exit(0)
	case errors.As(err, &exit) && exit.ExitCode() >= 0:
		os.Exit(exit.ExitCode())
	}
	fmt.Fprintln(os.Stderr, "running the tests in a network namespace of their own:", err)
	os.Exit(1)
}

// Start runs a role of Main in a process of its own in the pod, as the uid and without any capability, and ends it
// with the test. wait is cmd.Wait for anybody and as often as one likes.
func Start(t testing.TB, uid uint32, name string, prepare func(*exec.Cmd)) (cmd *exec.Cmd, wait func() error) {
	t.Helper()
	cmd = exec.Command("/proc/self/exe") //nolint:noctx // Run ends it with the test
	cmd.Env = append(os.Environ(), Role+"="+name)
	cmd.Stderr = os.Stderr
	if prepare != nil {
		prepare(cmd)
	}
	return cmd, Run(t, uid, cmd)
}

// Run starts a program in the pod as the uid, without any capability, and ends it with the test. wait is cmd.Wait for
// anybody and as often as one likes: of two callers of cmd.Wait at once, one may never return.
func Run(t testing.TB, uid uint32, cmd *exec.Cmd) (wait func() error) {
	t.Helper()
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	wait = sync.OnceValue(cmd.Wait)
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = wait()
	})
	return wait
}
