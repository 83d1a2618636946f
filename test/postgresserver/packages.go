package postgresserver

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
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// Installation is an unpacked PostgreSQL.
type Installation struct {
	// Major is the server's major version.
	Major int
	// Bin holds postgres, initdb, psql, pgbench and the other programs.
	Bin string
	// libraries holds shared libraries that the machine itself lacks; LD_LIBRARY_PATH points there.
	libraries string
}

// EnvCache names the folder that unpacked packages are kept under; the default is .cluster in the repository.
const EnvCache = "CHAPERONE_CLUSTER_DIR"

var installed struct {
	once sync.Once
	in   *Installation
	err  error
}

// Install returns the newest PostgreSQL that the machine's Debian sources offer, unpacked. The first call on a
// machine downloads about 20 MB; processes that call it at the same time wait for one another.
func Install() (*Installation, error) {
	installed.once.Do(func() { installed.in, installed.err = install() })
	return installed.in, installed.err
}

func install() (*Installation, error) {
	cache, err := cacheFolder()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return nil, fmt.Errorf("making the cache folder: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(cache, "lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("locking the cache folder: %w", err)
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return nil, fmt.Errorf("locking the cache folder: %w", err)
	}
	if in := unpacked(cache); in != nil {
		return in, nil
	}
	major, err := newestMajor()
	if err != nil {
		return nil, err
	}
	return unpack(cache, major)
}

// cacheFolder must be reachable by the unprivileged user that the server runs as: a repository under a private
// home folder is not, and a folder under the system's temporary one takes its place.
func cacheFolder() (string, error) {
	if dir := os.Getenv(EnvCache); dir != "" {
		return filepath.Join(dir, "postgres"), nil
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
		return filepath.Join(os.TempDir(), "chaperone-postgres"), nil
	}
	return filepath.Join(dir, ".cluster", "postgres"), nil
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

// unpacked finds a complete installation in the cache; the file "complete" is written last.
func unpacked(cache string) *Installation {
	marks, _ := filepath.Glob(filepath.Join(cache, "*", "complete"))
	var best *Installation
	for _, mark := range marks {
		major, err := strconv.Atoi(filepath.Base(filepath.Dir(mark)))
		if err == nil && (best == nil || major > best.Major) {
			best = at(filepath.Dir(mark), major)
		}
	}
	return best
}

func at(root string, major int) *Installation {
	return &Installation{
		Major:     major,
		Bin:       filepath.Join(root, "usr/lib/postgresql", strconv.Itoa(major), "bin"),
		libraries: filepath.Join(root, "libraries"),
	}
}

var serverPackage = regexp.MustCompile(`(?m)^postgresql-([0-9]+) `)

func newestMajor() (int, error) {
	out, err := run("", "apt-cache", "search", "--names-only", "^postgresql-[0-9]+$")
	if err != nil {
		return 0, fmt.Errorf("looking for PostgreSQL packages: %w", err)
	}
	newest := 0
	for _, m := range serverPackage.FindAllSubmatch(out, -1) {
		if n, err := strconv.Atoi(string(m[1])); err == nil && n > newest {
			newest = n
		}
	}
	if newest == 0 {
		return 0, errors.New("apt-cache knows no postgresql-NN package: run apt-get update, or put unpacked ones under " + EnvCache)
	}
	return newest, nil
}

func unpack(cache string, major int) (*Installation, error) {
	fmt.Fprintf(os.Stderr, "postgresserver: downloading PostgreSQL %d from the Debian sources into %s\n", major, cache)
	root := filepath.Join(cache, strconv.Itoa(major))
	if err := os.RemoveAll(root); err != nil {
		return nil, err
	}
	in := at(root, major)
	if err := os.MkdirAll(in.libraries, 0o755); err != nil {
		return nil, err
	}
	version := strconv.Itoa(major)
	if err := fetch(root, "postgresql-"+version, "postgresql-client-"+version, "libpq5"); err != nil {
		return nil, err
	}
	if err := in.collect(root); err != nil {
		return nil, err
	}
	missing, err := in.missing()
	if err != nil {
		return nil, err
	}
	if len(missing) > 0 {
		fmt.Fprintf(os.Stderr, "postgresserver: downloading the shared libraries that this machine lacks: %s\n", strings.Join(missing, " "))
		names, err := libraryPackages(version)
		if err != nil {
			return nil, err
		}
		if err := fetch(root, names...); err != nil {
			return nil, err
		}
		if err := in.collect(root); err != nil {
			return nil, err
		}
		if missing, err = in.missing(); err != nil {
			return nil, err
		} else if len(missing) > 0 {
			return nil, fmt.Errorf("PostgreSQL %d needs shared libraries that no Debian package gave: %s", major, strings.Join(missing, ", "))
		}
	}
	return in, os.WriteFile(filepath.Join(root, "complete"), nil, 0o644)
}

// fetch downloads packages and unpacks them under root, running none of their scripts.
func fetch(root string, packages ...string) error {
	debs, err := os.MkdirTemp(root, "debs-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(debs)
	if out, err := run(debs, "apt-get", append([]string{"download", "-q"}, packages...)...); err != nil {
		return fmt.Errorf("apt-get download %s: %w: %s", strings.Join(packages, " "), err, out)
	}
	files, err := filepath.Glob(filepath.Join(debs, "*.deb"))
	if err != nil {
		return err
	}
	for _, f := range files {
		if out, err := run("", "dpkg", "-x", f, root); err != nil {
			return fmt.Errorf("unpacking %s: %w: %s", filepath.Base(f), err, out)
		}
	}
	return nil
}

// libraryPackages are the shared libraries that the server's package depends on, directly or not. LLVM (60 MB)
// is left out: it is loaded only for just-in-time compilation, and the server runs without.
func libraryPackages(version string) ([]string, error) {
	out, err := run("", "apt-cache", "depends", "--recurse", "--no-recommends", "--no-suggests", "--no-conflicts",
		"--no-breaks", "--no-replaces", "--no-enhances", "postgresql-"+version)
	if err != nil {
		return nil, fmt.Errorf("apt-cache depends postgresql-%s: %w", version, err)
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

// collect links every shared library under root into one folder.
func (in *Installation) collect(root string) error {
	return filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if path == in.libraries || path == filepath.Dir(in.Bin) {
			return filepath.SkipDir
		}
		if entry.IsDir() || !strings.Contains(entry.Name(), ".so") {
			return nil
		}
		link := filepath.Join(in.libraries, entry.Name())
		if err := os.Symlink(path, link); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		return nil
	})
}

var unresolved = regexp.MustCompile(`(?m)^\s*(\S+) => not found`)

func (in *Installation) missing() ([]string, error) {
	var names []string
	for _, program := range []string{"postgres", "psql", "pgbench", "initdb"} {
		cmd := exec.CommandContext(context.Background(), "ldd", filepath.Join(in.Bin, program))
		cmd.Env = in.Environment()
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

// Environment is what the installation's programs run with: the machine's own, without any PG variable, and the
// libraries' folder.
func (in *Installation) Environment() []string {
	var env []string
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "PG") && !strings.HasPrefix(kv, "LD_LIBRARY_PATH=") && !strings.HasPrefix(kv, "LC_") && !strings.HasPrefix(kv, "LANG") {
			env = append(env, kv)
		}
	}
	return append(env, "LD_LIBRARY_PATH="+in.libraries, "LC_ALL=C")
}

func run(dir, name string, args ...string) ([]byte, error) {
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
