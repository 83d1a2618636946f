// Command sidecar is the PostgreSQL path that `make bench-postgres` measures.
package main

import (
	"context"
	"crypto/tls"
	"os"

	"github.com/go-logr/logr"

	"github.com/chaperone-dev/chaperone/sidecar/control"
	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/postgres"
	"github.com/chaperone-dev/chaperone/sidecar/session"
	"github.com/chaperone-dev/chaperone/test/bench/measured"
	"github.com/chaperone-dev/chaperone/test/bench/postgres/wiring"
)

func main() { measured.Main(path) }

func path(_ context.Context, w *wiring.Wiring) (*measured.Path, error) {
	leaf, err := tls.X509KeyPair(w.Certificate, w.Key)
	if err != nil {
		return nil, err
	}
	token := w.Folder + "/token"
	if err := os.WriteFile(token, []byte("bench"), 0o600); err != nil {
		return nil, err
	}
	broker, err := control.New(control.Options{Address: w.Broker, RootPEM: w.BrokerRoot, TokenFile: token, Log: logr.Discard()})
	if err != nil {
		return nil, err
	}
	return &measured.Path{
		Protocol: postgres.New(postgres.Options{Driver: w.Driver}), Name: policy.ProtocolPostgres, Policy: w.Policy, Upstream: w.Upstream,
		Folder: w.Folder, Uplink: broker, Profile: w.Profile,
		Complete: func(s *session.Session) {
			s.Leaf = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &leaf, nil }
			s.Credentials = measured.Lease{Username: w.User, Password: w.Password}
			s.Approvals = broker
		},
	}, nil
}
