// A process that is confined, and tries what it must not be able to do. What the filter does not refuse is printed.
package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/chaperone-dev/chaperone/sidecar/script/confine"
)

func main() {
	parent := os.Getppid()
	if err := confine.Process(); err != nil {
		fmt.Println("not confined:", err)
		os.Exit(3)
	}
	switch os.Args[1] {
	case "memory":
		var held [][]byte
		for range 1000 {
			b := make([]byte, 1<<20)
			for i := range b {
				b[i] = 1
			}
			held = append(held, b)
		}
		fmt.Println("held", len(held), "MiB")
	case "processor":
		for {
		}
	case "threads":
		// What a Go program does in the ordinary way still works.
		var wg sync.WaitGroup
		for range 30 {
			wg.Go(func() {
				runtime.LockOSThread() // for ever: each takes a thread with it
				r, w, err := os.Pipe()
				if err != nil {
					fmt.Println("pipe:", err)
					return
				}
				go func() { _, _ = w.Write([]byte("x")); w.Close() }()
				b := make([]byte, 1)
				if _, err := r.Read(b); err != nil {
					fmt.Println("read:", err)
				}
				r.Close()
				time.Sleep(time.Millisecond)
			})
		}
		wg.Wait()
		fmt.Println("fine")
	case "reach":
		for name, try := range attempts(parent) {
			if err := try(); !errors.Is(err, syscall.EPERM) {
				fmt.Println(name+":", err)
			}
		}
	}
}

func attempts(parent int) map[string]func() error {
	b := make([]byte, 8)
	return map[string]func() error{
		"read a file":       func() error { _, err := os.ReadFile("/etc/passwd"); return err },
		"read itself":       func() error { _, err := os.ReadFile("/proc/self/environ"); return err },
		"write a file":      func() error { return os.WriteFile(os.TempDir()+"/confined", nil, 0o600) },
		"list a folder":     func() error { _, err := os.ReadDir("/"); return err },
		"look at a file":    func() error { _, err := os.Stat("/etc/passwd"); return err },
		"remove a file":     func() error { return syscall.Unlink("/nowhere") },
		"change its folder": func() error { return syscall.Chdir("/") },
		"open a socket":     func() error { _, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0); return err },
		"make a socketpair": func() error { _, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0); return err },
		"dial":              func() error { _, err := net.Dial("tcp", "127.0.0.1:1"); return err },
		"start a program":   func() error { return exec.Command("/bin/true").Run() },
		"become a program":  func() error { return syscall.Exec("/bin/true", []string{"true"}, nil) },
		"fork": func() error {
			pid, _, errno := syscall.RawSyscall6(syscall.SYS_CLONE, uintptr(syscall.SIGCHLD), 0, 0, 0, 0, 0)
			if errno != 0 {
				return errno
			}
			if pid == 0 {
				syscall.RawSyscall(syscall.SYS_EXIT_GROUP, 0, 0, 0)
			}
			return nil
		},
		"fork anew":                   func() error { _, _, errno := syscall.RawSyscall(unix.SYS_CLONE3, 0, 0, 0); return errno },
		"look for its parent":         func() error { return syscall.Kill(parent, 0) },
		"kill all":                    func() error { return syscall.Kill(-1, 0) },
		"kill a thread of the parent": func() error { return unix.Tgkill(parent, parent, 0) },
		"trace its parent":            func() error { return unix.PtraceAttach(parent) },
		"read its parent": func() error {
			_, err := unix.ProcessVMReadv(parent, []unix.Iovec{{Base: &b[0], Len: 8}}, []unix.RemoteIovec{{Base: 0x1000, Len: 8}}, 0)
			return err
		},
		"get more memory": func() error {
			return unix.Setrlimit(unix.RLIMIT_DATA, &unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY})
		},
		"outlive its parent":   func() error { return unix.Prctl(unix.PR_SET_PDEATHSIG, 0, 0, 0, 0) },
		"share memory":         func() error { _, err := unix.MemfdCreate("x", 0); return err },
		"load a program":       func() error { _, _, errno := unix.Syscall(unix.SYS_BPF, 0, 0, 0); return errno },
		"use io_uring":         func() error { _, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, 1, 0, 0); return errno },
		"make a namespace":     func() error { return unix.Unshare(unix.CLONE_NEWUSER) },
		"own a signal's owner": func() error { _, err := unix.FcntlInt(0, unix.F_SETOWN, parent); return err },
		"send descriptors":     func() error { return unix.Sendmsg(1, b, unix.UnixRights(0), nil, 0) },
		"use a terminal":       func() error { _, err := unix.IoctlGetInt(0, unix.TIOCINQ); return err },
	}
}
