package main

import (
	"context"
	"fmt"

	"github.com/chaperone-dev/chaperone/test/conformance/difference"
)

// pqVersion is the release of lib/pq whose tests run.
const pqVersion = "v1.12.3"

// runPQ runs the tests of lib/pq, as its own continuous integration does: with values in text, and in binary where
// it can.
func runPQ(ctx context.Context, b *bench) (difference.Report, error) {
	folder, err := b.module(ctx, "github.com/lib/pq", pqVersion)
	if err != nil {
		return nil, err
	}
	out := make(difference.Report)
	for _, binary := range []string{"no", "yes"} {
		report, err := b.settled(func(b *bench) (map[string]map[string]string, error) {
			ended := make(map[string]map[string]string)
			return ended, b.both(func(s *side) error {
				if err := s.execute(ctx, "postgres", superuser("pqgo"), superuser("pqgossl"), superuser("pqgosslcert"), superuser("pqgomd5"),
					superuser("pqgopassword"), superuser("pqgoscram"), superuser("pqgounknown"), "CREATE DATABASE pqgo OWNER pqgo"); err != nil {
					return err
				}
				if err := s.execute(ctx, "pqgo", "CREATE EXTENSION hstore"); err != nil {
					return err
				}
				var err error
				ended[s.name], err = b.goTest(ctx, s, folder, "pq-"+binary+"-"+s.name+".json", s.environment("PQTEST_BINARY_PARAMETERS="+binary,
					"PGHOST=127.0.0.1", fmt.Sprintf("PGPORT=%d", s.port), "PGUSER=pqgo", "PGDATABASE=pqgo", "PGSSLMODE=disable"), "./...")
				return err
			})
		})
		if err != nil {
			return nil, err
		}
		for test, r := range report {
			if binary == "yes" {
				test += " (binary)"
			}
			out[test] = r
		}
	}
	return out, nil
}
