package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/chaperone-dev/chaperone/sidecar/layout"
	"github.com/chaperone-dev/chaperone/test/conformance/difference"
	"github.com/chaperone-dev/chaperone/test/conformance/postgres/clients"
	"github.com/chaperone-dev/chaperone/test/postgresserver"
)

// clientSuites are the checks of each client.
func clientSuites() []suite {
	var out []suite
	for _, c := range clients.All {
		out = append(out, suite{c.Name, func(ctx context.Context, b *bench) (difference.Report, error) { return b.client(ctx, c) }})
	}
	return out
}

// client runs a client's checks. It names the root of the server itself on both sides; through the sidecar the pod's
// own lies over that file, as trust.paths has it, and without that the client has to refuse.
func (b *bench) client(ctx context.Context, c clients.Client) (difference.Report, error) {
	libpq, err := postgresserver.Debian() // the newest server brings none
	if err != nil {
		return nil, err
	}
	saw := make(map[string]map[string]string)
	refused := make(map[string]map[string]struct{})
	err = b.both(func(s *side) error {
		if err := s.execute(ctx, "postgres", "CREATE DATABASE clients", "CREATE ROLE "+askedRole+" LOGIN PASSWORD '"+askedPassword+"'"); err != nil {
			return err
		}
		folder := filepath.Join(b.folder, c.Name+"-"+s.name)
		if err := errors.Join(os.RemoveAll(folder), os.MkdirAll(folder, 0o755)); err != nil {
			return err
		}
		stranger, err := postgresserver.NewAuthority("nobody's authority")
		if err != nil {
			return err
		}
		at := clients.Server{Host: targetHost, Port: s.port, AskingPort: s.port, Role: askedRole, Password: askedPassword, Root: filepath.Join(folder, "db-ca.pem"), Stranger: filepath.Join(folder, "stranger.pem"),
			Libraries: libpq.Libraries()}
		if err := errors.Join(os.WriteFile(at.Root, s.server.Authority.PEM, 0o644), os.WriteFile(at.Stranger, stranger.PEM, 0o644)); err != nil {
			return err
		}
		if s.sidecar != nil {
			if b.only == nil {
				without, err := c.Run(ctx, folder, at, []string{"sslmode verify full", "sslmode verify-full"}, s.progress())
				if err != nil {
					return err
				}
				for name, what := range without {
					if !clients.Broke(what) {
						return fmt.Errorf("%s of %s took a certificate that the root it names did not sign: %s", name, c.Name, what)
					}
				}
			}
			at.AskingPort = s.asks
			at.Overlay = filepath.Join(s.trust, layout.CAFile)
		}
		if saw[s.name], err = c.Run(ctx, folder, at, b.only, s.progress()); err != nil {
			return err
		}
		for name := range saw[s.name] {
			if s.sidecar != nil {
				refused[name] = s.refused(c.Name + "/" + name)
			}
		}
		return nil
	}, "max_prepared_transactions=5")
	if err != nil {
		return nil, err
	}
	out := make(difference.Report)
	for name, what := range saw["direct"] {
		if clients.Broke(what) {
			return nil, fmt.Errorf("%s does not work on a direct connection: %s", name, what)
		}
		out[name] = difference.Result{Differs: saw["sidecar"][name] != what, Refusals: refused[name]}
	}
	return out, nil
}
