// Package scriptprogram builds the program that interprets scripts, as it is shipped.
package scriptprogram

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	// What the program is made of, so that a test is not cached that ran another.
	_ "github.com/chaperone-dev/chaperone/sidecar/script/confine"
	_ "github.com/chaperone-dev/chaperone/sidecar/script/program"
)

// build builds it once for a test's process, in a folder of the user's cache that all of them share: Go's own cache makes
// that fast, and whoever still runs the one before keeps it.
var build = sync.OnceValues(func() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "chaperone-test")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	cmd := exec.Command("go", "build", "-tags", "netgo,osusergo", "-ldflags", "-s -w", "-o", dir, "github.com/chaperone-dev/chaperone/cmd/script")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building: %w\n%s", err, out)
	}
	return filepath.Join(dir, "script"), nil
})

// Build returns the path of the program.
func Build(t testing.TB) string {
	t.Helper()
	path, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return path
}
