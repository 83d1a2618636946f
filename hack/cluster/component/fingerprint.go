package component

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"github.com/chaperone-dev/chaperone/hack/cluster/folder"
)

// fingerprint changes with anything that the component's programs are made of:
// the toolchain, the module graph, our sources and the build's flags.
func (c Component) fingerprint(f folder.Folder, toolchain string) (string, error) {
	h := sha256.New()
	fmt.Fprintln(h, toolchain, c.arguments("", false))
	files := []string{"go.mod", "go.sum"}
	for _, pkg := range c.Packages {
		if !strings.HasPrefix(pkg, "./") {
			continue
		}
		sources, err := filepath.Glob(filepath.Join(f.Source, "components", pkg, "*.go"))
		if err != nil {
			return "", fmt.Errorf("listing %s: %w", pkg, err)
		}
		for _, s := range sources {
			rel, err := filepath.Rel(filepath.Join(f.Source, "components"), s)
			if err != nil {
				return "", fmt.Errorf("listing %s: %w", pkg, err)
			}
			files = append(files, rel)
		}
	}
	sort.Strings(files)
	for _, name := range files {
		if err := hashFile(h, filepath.Join(f.Source, "components", name), name); err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func hashFile(h io.Writer, path, name string) error {
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("reading what a component is built from: %w", err)
	}
	defer file.Close()
	fmt.Fprintln(h, name)
	if _, err := io.Copy(h, file); err != nil {
		return fmt.Errorf("reading what a component is built from: %w", err)
	}
	return nil
}

// current says whether the programs are there and were built from what would
// be built now.
func (c Component) current(f folder.Folder, fingerprint string) bool {
	stamp, err := os.ReadFile(f.Stamp(c.stamp()))
	if err != nil || string(stamp) != fingerprint {
		return false
	}
	for i := range c.Packages {
		if _, err := os.Stat(filepath.Join(f.Root, c.Folder, c.Program(i))); err != nil {
			return false
		}
	}
	for _, link := range c.Links {
		if _, err := os.Stat(filepath.Join(f.Root, c.Folder, link)); err != nil {
			return false
		}
	}
	return true
}

func (c Component) stamp() string { return c.Folder + "-" + c.Program(0) }

// Built says whether every component was built at some time, from whatever.
func Built(f folder.Folder) bool {
	for _, c := range All {
		if _, err := os.Stat(f.Stamp(c.stamp())); err != nil {
			return false
		}
	}
	return true
}
