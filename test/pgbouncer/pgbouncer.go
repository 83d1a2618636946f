// Package pgbouncer gets Debian's pgbouncer for tests, unpacked beside the tests' PostgreSQL.
package pgbouncer

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/chaperone-dev/chaperone/test/debian"
)

// Program is an unpacked pgbouncer.
type Program struct {
	// Path is the executable.
	Path      string
	libraries string
}

// Install returns Debian's pgbouncer, unpacked beside the tests' PostgreSQL.
func Install() (b *Program, err error) {
	err = debian.Locked("pgbouncer", func(cache string) error {
		root := filepath.Join(cache, "root")
		b = &Program{Path: filepath.Join(root, "usr/sbin/pgbouncer"), libraries: filepath.Join(root, "libraries")}
		complete := filepath.Join(cache, "complete") // written last
		if _, err := os.Stat(complete); err == nil {
			return nil
		}
		if err := os.RemoveAll(root); err != nil {
			return err
		}
		if err := os.MkdirAll(b.libraries, 0o755); err != nil {
			return err
		}
		if err := debian.Fetch(root, "pgbouncer"); err != nil {
			return err
		}
		programs := debian.Programs{Package: "pgbouncer", Root: root, Libraries: b.libraries, Environment: b.Environment(), Paths: []string{b.Path}}
		if err := programs.Complete(); err != nil {
			return err
		}
		return os.WriteFile(complete, nil, 0o644)
	})
	if err != nil {
		return nil, fmt.Errorf("getting pgbouncer: %w", err)
	}
	return b, nil
}

// Environment is what the program runs with.
func (b *Program) Environment() []string {
	return []string{"LD_LIBRARY_PATH=" + b.libraries, "LC_ALL=C"}
}

// Version is what it says of itself.
func (b *Program) Version() string {
	cmd := exec.CommandContext(context.Background(), b.Path, "--version")
	cmd.Env = b.Environment()
	out, err := cmd.Output()
	if err != nil {
		return "pgbouncer"
	}
	first, _, _ := strings.Cut(string(out), "\n")
	return strings.TrimSpace(first)
}
