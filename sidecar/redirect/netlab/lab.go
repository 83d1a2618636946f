package netlab

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// Addresses of the lab.
var (
	Pod4 = netip.MustParseAddr("10.77.0.2")
	Pod6 = netip.MustParseAddr("fd77::2")
	// Node4 and Node6 are the other end of the pod's link, where probes come from.
	Node4 = netip.MustParseAddr("10.77.0.1")
	Node6 = netip.MustParseAddr("fd77::1")
	// Hosts of the outside world; any port of theirs may be listened on.
	Host4     = netip.MustParseAddr("198.51.100.10")
	Other4    = netip.MustParseAddr("198.51.100.11")
	Host6     = netip.MustParseAddr("2001:db8:1::10")
	Metadata4 = netip.MustParseAddr("169.254.169.254")
	Resolver4 = netip.MustParseAddr("169.254.20.10")
	Metadata6 = netip.MustParseAddr("fd00:ec2::254")
)

// Lab is a pod's namespace (the process's own) joined by a link to an outside world.
type Lab struct {
	outside int // file descriptor of the outside namespace
	sniffer int // packet socket at the outside end of the link
}

// New joins the process's namespace to a new outside world, and takes the link away when the test ends.
func New(t testing.TB) *Lab {
	t.Helper()
	if os.Getenv(marker) == "" {
		t.Fatal("the package's TestMain does not call netlab.Main")
	}
	l := &Lab{outside: -1, sniffer: -1}
	if err := onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("unshare: %w", err)
		}
		fd, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		l.outside = fd
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if err := l.wire(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := deleteLink(podLink); err != nil {
			t.Error(err)
		}
		unix.Close(l.sniffer)
		unix.Close(l.outside)
	})
	return l
}

// Outside runs f on a thread that is in the outside world: sockets that f opens belong there for good.
func (l *Lab) Outside(t testing.TB, f func() error) {
	t.Helper()
	if err := l.enter(f); err != nil {
		t.Fatal(err)
	}
}

func (l *Lab) enter(f func() error) error {
	return onThread(func() error {
		if err := unix.Setns(l.outside, unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("setns: %w", err)
		}
		return f()
	})
}

// As runs f on a thread of the pod that has this uid and no capability: sockets that f opens are owned by it.
func As(uid uint32, f func() error) error {
	return onThread(func() error {
		// The raw call changes this thread alone; going from 0 to another uid drops all capabilities
		// (capabilities(7)).
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, uintptr(uid), uintptr(uid), uintptr(uid)); errno != 0 {
			return fmt.Errorf("setresuid: %w", errno)
		}
		return f()
	})
}

// onThread runs f on a thread that ends with it.
func onThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		// Never unlocked: the runtime ends the thread, and with it what f changed of it.
		runtime.LockOSThread()
		// A test's Fatal ends the goroutine before f returns.
		err := errors.New("the test failed on the way")
		defer func() { done <- err }()
		err = f()
	}()
	return <-done
}
