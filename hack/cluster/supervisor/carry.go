package supervisor

import (
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"github.com/chaperone-dev/chaperone/hack/cluster/node"
)

// dialTimeout bounds a connection that never leaves the machine.
const dialTimeout = 5 * time.Second

// carry joins each connection to one to the API server in the node's network.
func carry(listener net.Listener, nodePID int) {
	dials := make(chan chan<- net.Conn)
	go dialInside(nodePID, dials)
	for {
		outside, err := listener.Accept()
		if err != nil {
			return
		}
		go func() {
			defer outside.Close()
			answer := make(chan net.Conn, 1)
			dials <- answer
			inside := <-answer
			if inside == nil {
				return
			}
			defer inside.Close()
			join(outside, inside)
		}()
	}
}

// dialInside makes connections in the node's network. A socket belongs to the
// network that the thread which made it was in, wherever it is used after; so
// one thread goes there and stays.
func dialInside(nodePID int, dials <-chan chan<- net.Conn) {
	runtime.LockOSThread()
	err := enterNetwork(nodePID)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	for answer := range dials {
		if err != nil {
			answer <- nil
			continue
		}
		conn, dialled := net.DialTimeout("tcp4", node.APIServer, dialTimeout)
		if dialled != nil {
			answer <- nil
			continue
		}
		answer <- conn
	}
}

func enterNetwork(pid int) error {
	file, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", pid))
	if err != nil {
		return fmt.Errorf("finding the node's network: %w", err)
	}
	defer file.Close()
	if err := unix.Setns(int(file.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("entering the node's network: %w", err)
	}
	return nil
}

// join copies both ways until both are done; the end of one direction is
// passed on, the other goes on.
func join(a, b net.Conn) {
	done := make(chan struct{})
	oneWay := func(to, from net.Conn) {
		_, _ = io.Copy(to, from) // an end by error is an end
		if half, ok := to.(interface{ CloseWrite() error }); ok {
			_ = half.CloseWrite()
		}
		done <- struct{}{}
	}
	go oneWay(a, b)
	go oneWay(b, a)
	<-done
	<-done
}
