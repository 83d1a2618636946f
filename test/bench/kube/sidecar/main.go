// Command sidecar is the Kubernetes path that `make bench-kube` measures.
package main

import (
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"path/filepath"
	"strconv"

	"github.com/chaperone-dev/chaperone/sidecar/kube"
	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/session"
	"github.com/chaperone-dev/chaperone/sidecar/trust"
	"github.com/chaperone-dev/chaperone/test/bench/kube/wiring"
	"github.com/chaperone-dev/chaperone/test/bench/measured"
	"github.com/chaperone-dev/chaperone/test/bench/process"
)

func main() { measured.Main(path) }

func path(_ context.Context, w *wiring.Wiring) (*measured.Path, error) {
	_, text, err := net.SplitHostPort(w.Upstream)
	if err != nil {
		return nil, err
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return nil, err
	}
	authority, err := trust.LoadAuthority(w.Folder, wiring.Pod)
	if err != nil {
		return nil, err
	}
	leaves, err := trust.NewLeaves(authority)
	if err != nil {
		return nil, err
	}
	return &measured.Path{
		Protocol: kube.New(kube.Options{TokenFile: filepath.Join(w.Folder, "kube-token"), CAFile: filepath.Join(w.Folder, "kube-ca.crt")}),
		Name:     policy.ProtocolKubernetes, Policy: rules(uint16(port)), Upstream: w.Upstream,
		Folder: w.Folder, Uplink: process.Operator{}, Profile: w.Profile,
		Complete: func(s *session.Session) {
			s.Leaf = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
				return leaves.For(hello.ServerName, []string{"localhost"}, netip.MustParseAddr("127.0.0.1"))
			}
		},
	}, nil
}
