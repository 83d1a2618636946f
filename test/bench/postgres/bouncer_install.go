package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/chaperone-dev/chaperone/test/debian"
)

// bouncer is an unpacked pgbouncer.
type bouncer struct{ path, libraries string }

// installBouncer returns Debian's pgbouncer, unpacked beside the tests' PostgreSQL.
func installBouncer() (b *bouncer, err error) {
	err = debian.Locked("pgbouncer", func(cache string) error {
		root := filepath.Join(cache, "root")
		b = &bouncer{path: filepath.Join(root, "usr/sbin/pgbouncer"), libraries: filepath.Join(root, "libraries")}
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
		programs := debian.Programs{Package: "pgbouncer", Root: root, Libraries: b.libraries, Environment: b.environment(), Paths: []string{b.path}}
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

func (b *bouncer) environment() []string {
	return []string{"LD_LIBRARY_PATH=" + b.libraries, "LC_ALL=C"}
}

// version is what it says of itself.
func (b *bouncer) version() string {
	cmd := exec.Command(b.path, "--version")
	cmd.Env = b.environment()
	out, err := cmd.Output()
	if err != nil {
		return "pgbouncer"
	}
	first, _, _ := strings.Cut(string(out), "\n")
	return strings.TrimSpace(first)
}
