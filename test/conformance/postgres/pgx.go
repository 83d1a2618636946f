package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/chaperone-dev/chaperone/test/conformance/difference"
)

// runPGX runs the tests of pgx, in the version that this module uses.
func runPGX(ctx context.Context, b *bench) (difference.Report, error) {
	version, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Version}}", "github.com/jackc/pgx/v5").Output()
	if err != nil {
		return nil, fmt.Errorf("looking for the version of pgx: %w", err)
	}
	folder, err := b.module(ctx, "github.com/jackc/pgx/v5", strings.TrimSpace(string(version)))
	if err != nil {
		return nil, err
	}
	return b.settled(func(b *bench) (map[string]map[string]string, error) {
		ended := make(map[string]map[string]string)
		return ended, b.both(func(s *side) error {
			if err := s.execute(ctx, "postgres", superuser("pgx_md5"), superuser("pgx_pw"), superuser("pgx_scram"), superuser("pgx_ssl"),
				superuser("pgx_sslcert"), superuser(`" tricky, ' } "" \\ test user "`), "CREATE DATABASE pgx_test"); err != nil {
				return err
			}
			if err := s.execute(ctx, "pgx_test", "CREATE EXTENSION hstore", "CREATE EXTENSION ltree", "CREATE DOMAIN uint64 AS numeric(20,0)"); err != nil {
				return err
			}
			root, err := s.root(b.folder)
			if err != nil {
				return err
			}
			certificate, key, err := s.server.Authority.Issue("pgx_sslcert")
			if err != nil {
				return err
			}
			crt, pem := filepath.Join(b.folder, "pgx_sslcert.crt"), filepath.Join(b.folder, "pgx_sslcert.key")
			if err := errors.Join(os.WriteFile(crt, certificate, 0o644), os.WriteFile(pem, key, 0o600)); err != nil {
				return err
			}
			dsn := func(user, more string) string {
				return fmt.Sprintf("host=127.0.0.1 port=%d user=%s password=secret dbname=pgx_test %s", s.port, user, more)
			}
			ended[s.name], err = b.goTest(ctx, s, folder, "pgx-"+s.name+".json", s.environment(
				"PGX_TEST_DATABASE="+dsn("pgx_md5", ""),
				"PGX_TEST_TCP_CONN_STRING="+dsn("pgx_md5", ""),
				"PGX_TEST_TLS_CONN_STRING="+dsn("pgx_ssl", "sslmode=verify-full sslrootcert="+root+" channel_binding=disable"),
				"PGX_TEST_TLS_CLIENT_CONN_STRING="+dsn("pgx_sslcert", "sslmode=verify-full sslrootcert="+root+" sslcert="+crt+" sslkey="+pem),
				"PGX_TEST_SCRAM_PLUS_CONN_STRING="+dsn("pgx_ssl", "sslmode=verify-full sslrootcert="+root+" channel_binding=require"),
				"PGX_TEST_SCRAM_PASSWORD_CONN_STRING="+dsn("pgx_scram", "channel_binding=disable"),
				"PGX_TEST_MD5_PASSWORD_CONN_STRING="+dsn("pgx_md5", ""),
				"PGX_TEST_PLAIN_PASSWORD_CONN_STRING="+dsn("pgx_pw", ""),
			), ".", "./pgconn/...", "./pgtype/...", "./pgxpool/...", "./stdlib/...")
			return err
		})
	})
}
