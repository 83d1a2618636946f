// Command sidecar is the SSH path that `make bench-ssh` measures.
package main

import (
	"context"
	"time"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/session"
	"github.com/chaperone-dev/chaperone/sidecar/ssh"
	"github.com/chaperone-dev/chaperone/sidecar/trust"
	"github.com/chaperone-dev/chaperone/test/bench/measured"
	"github.com/chaperone-dev/chaperone/test/bench/process"
	"github.com/chaperone-dev/chaperone/test/bench/ssh/wiring"
)

func main() { measured.Main(path) }

func path(_ context.Context, w *wiring.Wiring) (*measured.Path, error) {
	keys, err := trust.LoadHostKeys(w.Folder)
	if err != nil {
		return nil, err
	}
	signers, err := keys.Signers()
	if err != nil {
		return nil, err
	}
	return &measured.Path{
		Protocol: ssh.New(ssh.Options{Host: signers}), Name: policy.ProtocolSSH, Policy: rules(w), Upstream: w.Upstream,
		Folder: w.Folder, Uplink: process.Operator{}, Profile: w.Profile,
		Complete: func(s *session.Session) {
			s.Credentials = measured.Lease{KeyPEM: w.Key, NotAfter: time.Now().Add(time.Hour)}
		},
	}, nil
}
