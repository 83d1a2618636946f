// Package debian gets programs for tests from Debian's own packages: downloaded with apt-get, unpacked with dpkg -x
// into an ignored folder of the repository, installed nowhere.
package debian

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
)

// EnvCache names the folder that unpacked packages are kept under; the default is .cluster in the repository.
const EnvCache = "CHAPERONE_CLUSTER_DIR"

// Locked calls f with the cache folder of that name while no other process does.
//
// The folder can be reached by an unprivileged user, as which some servers run: a repository under a private home
// folder cannot, and a folder under the system's temporary one takes its place.
func Locked(name string, f func(cache string) error) error {
	cache, err := cacheFolder(name)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return fmt.Errorf("making the cache folder: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(cache, "lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return fmt.Errorf("locking the cache folder: %w", err)
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return fmt.Errorf("locking the cache folder: %w", err)
	}
	return f(cache)
}

func cacheFolder(name string) (string, error) {
	if dir := os.Getenv(EnvCache); dir != "" {
		return filepath.Join(dir, name), nil
	}
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		if dir == filepath.Dir(dir) {
			return "", errors.New("no go.mod above the working folder, and " + EnvCache + " is not set")
		}
		dir = filepath.Dir(dir)
	}
	if os.Getuid() == 0 && !reachable(dir) {
		return filepath.Join(os.TempDir(), "chaperone-"+name), nil
	}
	return filepath.Join(dir, ".cluster", name), nil
}

func reachable(dir string) bool {
	for {
		info, err := os.Stat(dir)
		if err != nil || info.Mode().Perm()&0o001 == 0 {
			return false
		}
		if dir == filepath.Dir(dir) {
			return true
		}
		dir = filepath.Dir(dir)
	}
}

// Fetch downloads packages and unpacks them under root, running none of their scripts.
func Fetch(root string, packages ...string) error {
	debs, err := os.MkdirTemp(root, "debs-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(debs)
	if out, err := Run(debs, "apt-get", append([]string{"download", "-q"}, packages...)...); err != nil {
		return fmt.Errorf("apt-get download %s: %w: %s", strings.Join(packages, " "), err, out)
	}
	files, err := filepath.Glob(filepath.Join(debs, "*.deb"))
	if err != nil {
		return err
	}
	for _, f := range files {
		if out, err := Run("", "dpkg", "-x", f, root); err != nil {
			return fmt.Errorf("unpacking %s: %w: %s", filepath.Base(f), err, out)
		}
	}
	return nil
}

// Libraries are the packages of shared libraries that a package depends on, directly or not. LLVM (60 MB) is left
// out: PostgreSQL loads it only for just-in-time compilation, and runs without.
func Libraries(name string) ([]string, error) {
	out, err := Run("", "apt-cache", "depends", "--recurse", "--no-recommends", "--no-suggests", "--no-conflicts",
		"--no-breaks", "--no-replaces", "--no-enhances", name)
	if err != nil {
		return nil, fmt.Errorf("apt-cache depends %s: %w", name, err)
	}
	var names []string
	for line := range strings.Lines(string(out)) {
		name := strings.TrimSpace(line)
		virtual := strings.HasPrefix(name, "<")
		if line[0] == ' ' || virtual || !strings.HasPrefix(name, "lib") || strings.HasPrefix(name, "libc6") ||
			strings.HasPrefix(name, "libllvm") || strings.HasSuffix(name, "-perl") || strings.HasPrefix(name, "libelogind") {
			continue
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names, nil
}

// Collect links every shared library under root into the folder at to, except those below skip.
func Collect(root, to string, skip ...string) error {
	return filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if path == to || slices.Contains(skip, path) {
			return filepath.SkipDir
		}
		if entry.IsDir() || !strings.Contains(entry.Name(), ".so") {
			return nil
		}
		if err := os.Symlink(path, filepath.Join(to, entry.Name())); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		return nil
	})
}

var unresolved = regexp.MustCompile(`(?m)^\s*(\S+) => not found`)

// Missing names the shared libraries that these programs need and do not find in the environment.
func Missing(environment []string, programs ...string) ([]string, error) {
	var names []string
	for _, program := range programs {
		cmd := exec.CommandContext(context.Background(), "ldd", program)
		cmd.Env = environment
		out, err := cmd.CombinedOutput()
		if err != nil {
			return nil, fmt.Errorf("ldd %s: %w: %s", program, err, out)
		}
		for _, m := range unresolved.FindAllSubmatch(out, -1) {
			if name := string(m[1]); !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names, nil
}

// Programs are what is used of an unpacked package.
type Programs struct {
	// Package is the package's name, Root where it was unpacked.
	Package, Root string
	// Libraries is a folder that the shared libraries under Root are linked into, but for those under Skip;
	// LD_LIBRARY_PATH in Environment names it.
	Libraries   string
	Skip        []string
	Environment []string
	// Paths are the programs.
	Paths []string
}

// Complete fetches what the programs lack: the libraries of all that their package depends on, where one is missing on
// this machine.
func (p Programs) Complete() error {
	if err := Collect(p.Root, p.Libraries, p.Skip...); err != nil {
		return err
	}
	missing, err := Missing(p.Environment, p.Paths...)
	if err != nil || len(missing) == 0 {
		return err
	}
	fmt.Fprintf(os.Stderr, "downloading the shared libraries for %s that this machine lacks: %s\n", p.Package, strings.Join(missing, " "))
	names, err := Libraries(p.Package)
	if err != nil {
		return err
	}
	if err := Fetch(p.Root, names...); err != nil {
		return err
	}
	if err := Collect(p.Root, p.Libraries, p.Skip...); err != nil {
		return err
	}
	if missing, err = Missing(p.Environment, p.Paths...); err != nil {
		return err
	}
	if len(missing) > 0 {
		return fmt.Errorf("%s needs shared libraries that no Debian package gave: %s", p.Package, strings.Join(missing, ", "))
	}
	return nil
}

// Run runs a program in a folder and returns what it printed; with an error, its standard error too.
func Run(dir, name string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(context.Background(), name, args...)
	cmd.Dir = dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return append(out, stderr.Bytes()...), err
	}
	return out, nil
}
