// Package scriptprogram builds the program that interprets scripts, as it is shipped.
package scriptprogram

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Build builds the program into a folder of the test and returns its path.
func Build(t testing.TB) string {
	t.Helper()
	look(t)
	path := filepath.Join(t.TempDir(), "script")
	cmd := exec.Command("go", "build", "-tags", "netgo,osusergo", "-ldflags", "-s -w", "-o", path, "github.com/chaperone-dev/chaperone/cmd/script")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building: %v\n%s", err, out)
	}
	return path
}

// look has go test notice what the program is made of, so that no result is cached of another one.
func look(t testing.TB) {
	t.Helper()
	root, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		t.Fatalf("looking for the module: %v", err)
	}
	for _, folder := range []string{"cmd/script", "sidecar/script/program", "sidecar/script/confine", "sidecar/script/wire"} {
		files, err := filepath.Glob(filepath.Join(strings.TrimSpace(string(root)), folder, "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s has no files: %v", folder, err)
		}
		for _, f := range files {
			if _, err := os.Stat(f); err != nil {
				t.Fatal(err)
			}
		}
	}
}
