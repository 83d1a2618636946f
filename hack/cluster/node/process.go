package node

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// A program that ends is started again after restartDelay, as on a machine with
// a service manager, unless it ended restartMax times within restartWindow:
// then it never works, and its log says why.
const (
	restartDelay  = time.Second
	restartMax    = 3
	restartWindow = 30 * time.Second
)

// ProgramError says which program does not run, so that its log can be shown.
type ProgramError struct {
	Program string
	Err     error
}

func (e *ProgramError) Error() string { return fmt.Sprintf("%s does not run: %v", e.Program, e.Err) }

func (e *ProgramError) Unwrap() error { return e.Err }

// keepRunning starts the program and starts it again whenever it ends. It
// returns when ctx is done, or with a ProgramError.
func (n Node) keepRunning(ctx context.Context, p program) error {
	var ends []time.Time
	for {
		err := n.runLogged(ctx, p)
		if ctx.Err() != nil {
			return nil
		}
		now := time.Now()
		ends = append(ends, now)
		if len(ends) >= restartMax && now.Sub(ends[len(ends)-restartMax]) < restartWindow {
			return &ProgramError{Program: p.name, Err: err}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(restartDelay):
		}
	}
}

// runLogged runs the program once, adding what it says to its log.
func (n Node) runLogged(ctx context.Context, p program) error {
	log, err := os.OpenFile(n.Folder.Log(p.name), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("opening the log of %s: %w", p.name, err)
	}
	defer log.Close()
	cmd := exec.CommandContext(ctx, filepath.Join(n.Folder.Bin(""), p.name), p.args...)
	cmd.Env = n.Environment()
	cmd.Stdout, cmd.Stderr = log, log
	// A signal meant for the supervisor's terminal is not theirs.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	started := time.Now()
	if err := cmd.Run(); err != nil {
		fmt.Fprintf(log, "%s ended after %s: %v\n", p.name, time.Since(started).Round(time.Millisecond), err)
		return err
	}
	return fmt.Errorf("it ended of its own accord")
}
