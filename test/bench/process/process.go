// Package process runs the programs that are measured, and reads what they use of the machine.
package process

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Process is a program that runs.
type Process struct {
	Cmd    *exec.Cmd
	stderr bytes.Buffer
	exited chan struct{}
}

// Launch starts a program that dies with this one.
func Launch(cmd *exec.Cmd) (*Process, error) {
	p := &Process{Cmd: cmd, exited: make(chan struct{})}
	cmd.Stderr = &p.stderr
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", cmd.Path, err)
	}
	go func() {
		_ = cmd.Wait()
		close(p.exited)
	}()
	return p, nil
}

// End asks the process to end, and kills it where it does not.
func (p *Process) End(sig syscall.Signal) {
	_ = p.Cmd.Process.Signal(sig)
	select {
	case <-p.exited:
	case <-time.After(15 * time.Second):
		_ = p.Cmd.Process.Kill()
		<-p.exited
	}
}

// Processor is the time that all threads of the process have used, by the kernel's clock for it
// (clock_getcpuclockid(3)), which counts in nanoseconds.
func (p *Process) Processor() (time.Duration, error) {
	var ts unix.Timespec
	if err := unix.ClockGettime(int32(^p.Cmd.Process.Pid<<3|2), &ts); err != nil {
		return 0, fmt.Errorf("reading the processor time of %s: %w", p.Cmd.Path, err)
	}
	return time.Duration(ts.Nano()), nil
}

// ForgetPeak makes Peak count from now on (proc(5), clear_refs).
func (p *Process) ForgetPeak() {
	// Where the kernel refuses, the peak is that of the whole run.
	_ = os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", p.Cmd.Process.Pid), []byte("5"), 0)
}

// Peak is the most memory that the process held, in bytes.
func (p *Process) Peak() (int64, error) { return p.status("VmHWM:") }

// status is a number of /proc/PID/status, in bytes.
func (p *Process) status(name string) (int64, error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", p.Cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if rest, ok := strings.CutPrefix(lines.Text(), name); ok {
			kb, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			return kb << 10, err
		}
	}
	return 0, fmt.Errorf("no %s of process %d", name, p.Cmd.Process.Pid)
}

// Resident is the memory that the process holds now, in bytes.
func (p *Process) Resident() (int64, error) { return p.status("VmRSS:") }

// Errors is what it has written to standard error.
func (p *Process) Errors() string { return p.stderr.String() }

// Exited is closed when it has ended.
func (p *Process) Exited() <-chan struct{} { return p.exited }
