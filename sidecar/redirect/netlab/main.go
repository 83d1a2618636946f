// Package netlab gives tests a pod's network namespace of their own and an outside world beyond it, in one
// process: rules are tested against the kernel that will carry them. Tests only; it needs root.
package netlab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"
)

const marker = "CHAPERONE_NETLAB"

// Main runs the package's tests in a network namespace of their own: it is what TestMain calls. The test binary
// starts itself again in the new namespace, so that every thread of it is inside.
func Main(m *testing.M) {
	if os.Getenv(marker) != "" {
		os.Exit(m.Run())
	}
	if os.Geteuid() != 0 {
		fmt.Fprintln(os.Stderr, "these tests program a kernel's packet filter in a network namespace of their own; run them as root")
		os.Exit(1)
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), marker+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
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
