// Package confine takes from a process, for good, what interpreting a script does not need: memory and processor time
// beyond a bound, files, sockets, other programs and other processes.
package confine

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"

	"github.com/elastic/go-seccomp-bpf"
	"golang.org/x/sys/unix"
)

const (
	// Memory bounds what the process can write to, in bytes, which is never more than what it holds of the container's
	// memory. Beyond it the runtime ends the process. Two scripts at once fit into the 128 MiB that the sidecar has by
	// default, beside itself and the program for conditions.
	Memory = 24 << 20
	// ProcessorSeconds bounds its processor time. The kernel kills it then.
	ProcessorSeconds = 10
	// files bounds its descriptors: three for each of 16 commands, and pipes between them, which hold 64 KiB each.
	files = 160
	// threads bounds its threads; a Go program that waits for pipes has a handful.
	threads = 64
)

// Process confines this process, all of its threads, and cannot be taken back. What it holds open stays.
func Process() error {
	debug.SetMaxThreads(threads)
	data, err := dataSize()
	if err != nil {
		return err
	}
	for _, l := range []struct {
		name     string
		resource int
		limit    uint64
	}{
		// What the process can write to counts (mm/mmap.c, may_expand_vm), not what the runtime reserves without use.
		{"memory", unix.RLIMIT_DATA, data + Memory},
		{"processor time", unix.RLIMIT_CPU, ProcessorSeconds},
		{"open files", unix.RLIMIT_NOFILE, files},
		{"written files", unix.RLIMIT_FSIZE, 0},
		{"core dumps", unix.RLIMIT_CORE, 0},
	} {
		if err := unix.Setrlimit(l.resource, &unix.Rlimit{Cur: l.limit, Max: l.limit}); err != nil {
			return fmt.Errorf("bounding %s: %w", l.name, err)
		}
	}
	if !seccomp.Supported() {
		return errors.New("the kernel has no seccomp")
	}
	err = seccomp.LoadFilter(seccomp.Filter{NoNewPrivs: true, Flag: seccomp.FilterFlagTSync, Policy: calls()})
	if err != nil {
		return fmt.Errorf("confining system calls: %w", err)
	}
	return nil
}

// calls are the system calls of a Go program that computes, starts threads, and reads and writes what it holds open. Any
// other fails with EPERM.
func calls() seccomp.Policy {
	names := []string{
		"read", "write", "close", "pipe2", "recvmsg",
		"epoll_create1", "epoll_ctl", "epoll_pwait", "eventfd2",
		"mmap", "munmap", "mprotect", "madvise", "futex", "sched_yield", "sched_getaffinity", "getrandom",
		"gettid", "getpid", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack", "restart_syscall",
		"nanosleep", "clock_gettime", "exit", "exit_group",
	}
	self := uint64(os.Getpid())
	only := func(name string, argument uint32, operation seccomp.Operation, value uint64) seccomp.NameWithConditions {
		return seccomp.NameWithConditions{Name: name, Conditions: seccomp.ArgumentConditions{{Argument: argument, Operation: operation, Value: value}}}
	}
	// Threads as the runtime makes them (os_linux.go, cloneFlags; sys_linux_amd64.s), no processes and no namespaces.
	thread := uint64(unix.CLONE_VM | unix.CLONE_FS | unix.CLONE_FILES | unix.CLONE_SIGHAND | unix.CLONE_SYSVSEM | unix.CLONE_THREAD)
	if runtime.GOARCH == "amd64" {
		thread |= unix.CLONE_SETTLS
	}
	conditions := []seccomp.NameWithConditions{
		only("clone", 0, seccomp.Equal, thread),
		only("tgkill", 0, seccomp.Equal, self), // signals to itself: the runtime's preemption
		only("fcntl", 1, seccomp.Equal, unix.F_GETFL),
		only("fcntl", 1, seccomp.Equal, unix.F_SETFL),
	}
	return seccomp.Policy{
		DefaultAction: seccomp.ActionErrno,
		Syscalls:      []seccomp.SyscallGroup{{Names: names, NamesWithCondtions: conditions, Action: seccomp.ActionAllow}},
	}
}

// dataSize is what counts as the process's data by now, in bytes (proc_pid_status(5), VmData).
func dataSize() (uint64, error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, fmt.Errorf("reading the process's size: %w", err)
	}
	size, err := sizeOf(status)
	if err != nil {
		return 0, fmt.Errorf("reading the process's size: %w", err)
	}
	return size, nil
}
