// Package script has scripts interpreted by a program of its own (cmd/script), which this one starts for each and trusts
// with nothing: it holds no secret, can reach nothing but the pipes and the socket that it is given, and what it asks for
// is decided by the caller, as if the agent had asked.
package script

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/chaperone-dev/chaperone/sidecar/process"
	"github.com/chaperone-dev/chaperone/sidecar/script/wire"
)

// Refused says in words for the agent why a script was not interpreted, or not to its end.
type Refused struct{ Why string }

func (r *Refused) Error() string { return r.Why }

// Pipes are the sidecar's ends of what a command reads and prints. Whoever was given them closes them.
type Pipes struct {
	Stdin          *os.File // is read
	Stdout, Stderr *os.File // are written
}

// Close closes all.
func (p *Pipes) Close() {
	for _, f := range []*os.File{p.Stdin, p.Stdout, p.Stderr} {
		f.Close()
	}
}

// Command is what a script comes to.
type Command struct {
	// Dir is where it runs; empty for the user's home. It is absolute, or begins with ./
	Dir string
	// Argv are its words, at least one.
	Argv []string
}

// Runner decides about a command and runs it. It calls start once, if it runs it, and has closed those pipes when it
// returns the exit status. It is called by several goroutines at once, wire.MaxCommands at most, and returns soon once
// ctx has ended.
type Runner func(ctx context.Context, c Command, start func() (*Pipes, error)) (status uint8)

// environment is all that the program gets of ours: nothing. Its memory is bounded by itself (confine.Memory); the
// runtime collects before that.
var environment = []string{"GOMAXPROCS=1", "GOMEMLIMIT=16MiB", "GOTRACEBACK=none"}

// Interpreter is the program that interprets.
type Interpreter struct {
	program string
	turns   chan struct{}
}

// farewell is how long the program has to end that has closed its socket.
const farewell = 5 * time.Second

// maxAtOnce is how many scripts are interpreted at once in a pod: each may take confine.Memory of the container's. The
// next one waits.
const maxAtOnce = 2

// New returns an Interpreter that starts the program at that path.
func New(program string) *Interpreter {
	return &Interpreter{program: program, turns: make(chan struct{}, maxAtOnce)}
}

// Run interprets a text to its end and returns its exit status. It reads its standard input from stdin, and prints to
// what the other two are; all are closed then. An error is a *Refused, or ctx's.
func (i *Interpreter) Run(ctx context.Context, text string, streams Pipes, runner Runner) (uint8, error) {
	defer streams.Close()
	if len(text) > wire.MaxText {
		return 0, &Refused{fmt.Sprintf("the script has more than %d bytes", wire.MaxText)}
	}
	select {
	case i.turns <- struct{}{}:
		defer func() { <-i.turns }()
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	ours, theirs, err := socket()
	if err != nil {
		return 0, &Refused{"a script cannot be interpreted now: " + err.Error()}
	}
	defer ours.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd := exec.CommandContext(ctx, i.program) //nolint:gosec // the path is a constant of the layout
	said := &words{}
	cmd.Env, cmd.Dir, cmd.Stderr = environment, "/", said
	cmd.Stdin, cmd.Stdout, cmd.ExtraFiles = streams.Stdin, streams.Stdout, []*os.File{theirs, streams.Stderr}
	ended, err := process.Start(cmd)
	theirs.Close()
	streams.Close()
	if err != nil {
		return 0, &Refused{"a script cannot be interpreted: " + err.Error()}
	}
	// Whatever comes, it is gone before this returns, and so is what it asked for.
	defer func() {
		cancel()
		for range ended {
		}
	}()
	stop := context.AfterFunc(ctx, func() { ours.Close() })
	defer stop()
	s := &served{socket: ours, runner: runner}
	status, err := s.serve(ctx, text)
	if ctx.Err() != nil {
		return 0, ctx.Err()
	}
	if !errors.Is(err, errGone) {
		return status, err
	}
	// One that is not ours any more may stay.
	defer time.AfterFunc(farewell, cancel).Stop()
	return 0, &Refused{said.why(<-ended)}
}

// socket returns both ends of a new one: ours, and what the program gets.
func socket() (*net.UnixConn, *os.File, error) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_SEQPACKET|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("making a socket: %w", err)
	}
	mine, theirs := os.NewFile(uintptr(fds[0]), "socket"), os.NewFile(uintptr(fds[1]), "socket")
	conn, err := net.FileConn(mine)
	mine.Close()
	if err != nil {
		theirs.Close()
		return nil, nil, fmt.Errorf("making a socket: %w", err)
	}
	return conn.(*net.UnixConn), theirs, nil //nolint:forcetypeassert // it is what the pair is made of
}

// words are the last words of the program, which are not the script's.
type words struct{ b bytes.Buffer }

// maxWords bounds them.
const maxWords = 1 << 10

// Write implements io.Writer.
func (w *words) Write(p []byte) (int, error) {
	if room := maxWords - w.b.Len(); room > 0 {
		w.b.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}

// why says why the program ended, in words for the agent. What it said itself may quote the script, or worse.
func (w *words) why(how error) string {
	text := w.b.String()
	var exit *exec.ExitError
	switch {
	case strings.HasPrefix(text, "script: bounding"), strings.HasPrefix(text, "script: confining"), strings.HasPrefix(text, "script: the kernel"):
		return "a script cannot be interpreted here: " + strings.TrimSpace(strings.TrimPrefix(text, "script: "))
	case strings.Contains(text, "out of memory"), strings.Contains(text, "cannot allocate memory"):
		return "the script takes more memory than it may"
	case strings.Contains(text, "too many open files"):
		return "the script has more pipes open at once than it may"
	case errors.As(how, &exit) && exit.Sys().(syscall.WaitStatus).Signaled(): //nolint:forcetypeassert // on Linux it is
		return "the script takes more processor time than it may, or its interpreter was killed"
	}
	// Go's runtime does not always say so when it gets no memory: it may read at address 0.
	return "the script cannot be interpreted: its interpreter broke, or took more memory than it may"
}
