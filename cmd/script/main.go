// The program script interprets one script for the sidecar, which starts it with pipes for the script's standard input,
// output and error (descriptors 0, 1 and 4) and a socket (3) over which it asks for each command of the script
// (sidecar/script/wire). It is a process of its own because the interpreter can be made to panic, and to take memory and
// time without bound. Before it reads the script it gives up whatever it does not need (sidecar/script/confine).
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/chaperone-dev/chaperone/sidecar/script/confine"
	"github.com/chaperone-dev/chaperone/sidecar/script/program"
	"github.com/chaperone-dev/chaperone/sidecar/script/wire"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "script:", err)
		os.Exit(1)
	}
}

func run() error {
	// A reader that is gone ends the writing, not the program.
	signal.Ignore(syscall.SIGPIPE)
	files := make([]*os.File, 3)
	for i, fd := range []int{0, 1, 4} {
		if err := syscall.SetNonblock(fd, true); err != nil {
			return fmt.Errorf("descriptor %d: %w", fd, err)
		}
		files[i] = os.NewFile(uintptr(fd), "stream")
	}
	s := newSidecar(3)
	if err := confine.Process(); err != nil {
		return err
	}
	text, err := s.begin()
	if err != nil {
		return err
	}
	go s.serve()
	status, err := program.Run(context.Background(), text, program.Options{Stdin: files[0], Stdout: files[1], Stderr: files[2], Exec: s.command})
	var refusal *program.Refusal
	switch {
	case errors.As(err, &refusal):
		return s.send(wire.Message{Kind: wire.Refused, Text: refusal.Why[:min(len(refusal.Why), wire.MaxWhy)]})
	case err != nil:
		return err
	}
	return s.send(wire.Message{Kind: wire.Done, Code: status})
}
