package main

import (
	"context"
	"path/filepath"

	"github.com/chaperone-dev/chaperone/test/conformance/difference"
)

// runIsolation runs the isolation suite (src/test/isolation).
func runIsolation(ctx context.Context, b *bench) (difference.Report, error) {
	folder, err := b.built(ctx, "src/test/isolation")
	if err != nil {
		return nil, err
	}
	plan, err := schedule(filepath.Join(folder, "isolation_schedule"), b.only)
	if err != nil {
		return nil, err
	}
	refused := make(map[string]map[string]struct{})
	err = b.both(func(s *side) error {
		if err := s.database(ctx, "isolation_regression"); err != nil {
			return err
		}
		if err := s.regress(ctx, filepath.Join(folder, "pg_isolation_regress"), s.port, "isolation_regression",
			filepath.Join(b.folder, "isolation-"+s.name), plan, "--bindir="+b.installation.Bin, "--inputdir="+folder); err != nil {
			return err
		}
		if s.sidecar != nil {
			for _, test := range names(plan) {
				refused[test] = s.refused("isolation/" + test)
			}
		}
		return nil
	}, "max_prepared_transactions=5")
	if err != nil {
		return nil, err
	}
	out := make(difference.Report)
	for test, messages := range refused {
		differs, err := b.differ(test, "isolation-direct", "isolation-sidecar")
		if err != nil {
			return nil, err
		}
		out[test] = difference.Result{Differs: differs, Refusals: messages}
	}
	return out, nil
}
