// Package process starts programs that end with the sidecar.
package process

import (
	"os/exec"
	"runtime"
	"syscall"
)

// Start starts a program that is killed when the sidecar ends, however that comes. How it ended can be read from ended
// once, which is closed then.
func Start(cmd *exec.Cmd) (ended <-chan error, err error) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	started, end := make(chan error), make(chan error, 1)
	go func() {
		// The signal comes when the thread ends that started the child (PR_SET_PDEATHSIG(2const)): this one waits.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			end <- cmd.Wait()
			close(end)
		}
	}()
	return end, <-started
}
