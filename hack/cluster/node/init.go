package node

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// Init is process 1 of the node. It starts self with the given arguments,
// passes requests to stop on, and waits for every process that loses its
// parent, which is why it starts nothing else: a program that waits for any
// child would take the others' results from whoever waits for one. When self
// ends so does Init, and with process 1 the kernel ends the whole node.
func Init(self string, args []string) (int, error) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	pid, err := syscall.ForkExec(self, append([]string{self}, args...), &syscall.ProcAttr{
		Env:   os.Environ(),
		Files: []uintptr{0, 1, 2},
	})
	if err != nil {
		return 1, fmt.Errorf("starting the node: %w", err)
	}
	go func() {
		for s := range signals {
			if sig, ok := s.(syscall.Signal); ok {
				_ = syscall.Kill(pid, sig) // it may have ended already
			}
		}
	}()
	for {
		var status syscall.WaitStatus
		ended, err := syscall.Wait4(-1, &status, 0, nil)
		if errors.Is(err, syscall.EINTR) {
			continue
		} else if err != nil {
			return 1, fmt.Errorf("waiting for the node: %w", err)
		}
		if ended == pid {
			return status.ExitStatus(), nil
		}
	}
}
