package kube

import (
	"net"
	"sync/atomic"
	"testing"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
)

// listener is a port of the pods that nobody may reach.
type listener struct {
	port  string
	count atomic.Int64
}

func listen(t testing.TB) *listener {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	out := &listener{}
	if _, out.port, err = net.SplitHostPort(l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			out.count.Add(1)
			conn.Close()
		}
	}()
	return out
}

func (l *listener) connections() int64 { return l.count.Load() }

// forwarding lets one port be forwarded.
func forwarding(port uint16) policy.Kubernetes {
	return policy.Kubernetes{DefaultAction: policy.Deny, Rules: []policy.Rule{
		{Name: "port", Action: policy.Allow, Match: policy.Match{Resources: []string{"pods/portforward"}, Ports: []uint16{port}}},
	}}
}
