package postgresserver

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"github.com/chaperone-dev/chaperone/test/debian"
)

// Installation is an unpacked PostgreSQL.
type Installation struct {
	// Major is the server's major version.
	Major int
	// Bin holds postgres, initdb, psql, pgbench and the other programs.
	Bin string
	// libraries holds shared libraries that the machine itself lacks; LD_LIBRARY_PATH points there.
	libraries string
	// clients has the programs that this one lacks; nil where it has all.
	clients *Installation
}

var installed struct {
	once sync.Once
	in   *Installation
	err  error
}

// EnvMajor names the server that Install gives: a major version, or "newest". Unset, it is Debian's.
const EnvMajor = "POSTGRES_MAJOR"

// Install returns the PostgreSQL that EnvMajor names, by default Debian's.
func Install() (*Installation, error) {
	wanted := os.Getenv(EnvMajor)
	if wanted == "newest" {
		return Newest()
	}
	in, err := Debian()
	if err != nil || wanted == "" || wanted == strconv.Itoa(in.Major) {
		return in, err
	}
	if in, err = Newest(); err != nil {
		return nil, err
	}
	if wanted != strconv.Itoa(in.Major) {
		return nil, fmt.Errorf("no package of PostgreSQL %s is known, as %s asks for", wanted, EnvMajor)
	}
	return in, nil
}

// Debian returns the newest PostgreSQL that the machine's Debian sources offer, unpacked. The first call on a
// machine downloads about 20 MB; processes that call it at the same time wait for one another.
func Debian() (*Installation, error) {
	installed.once.Do(func() { installed.in, installed.err = install() })
	return installed.in, installed.err
}

func install() (in *Installation, err error) {
	err = debian.Locked("postgres", func(cache string) error {
		if in = unpacked(cache); in != nil {
			return nil
		}
		major, err := newestMajor()
		if err != nil {
			return err
		}
		in, err = unpack(cache, major)
		return err
	})
	return in, err
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
	out, err := debian.Run("", "apt-cache", "search", "--names-only", "^postgresql-[0-9]+$")
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
		return 0, errors.New("apt-cache knows no postgresql-NN package: run apt-get update, or put unpacked ones under " + debian.EnvCache)
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
	if err := debian.Fetch(root, "postgresql-"+version, "postgresql-client-"+version, "libpq5"); err != nil {
		return nil, err
	}
	programs := debian.Programs{
		Package: "postgresql-" + version, Root: root, Libraries: in.libraries, Skip: []string{filepath.Dir(in.Bin)}, Environment: in.Environment(),
	}
	for _, name := range []string{"postgres", "psql", "pgbench", "initdb"} {
		programs.Paths = append(programs.Paths, filepath.Join(in.Bin, name))
	}
	if err := programs.Complete(); err != nil {
		return nil, err
	}
	return in, os.WriteFile(filepath.Join(root, "complete"), nil, 0o644)
}

// Libraries is the folder of shared libraries that the machine itself may lack, libpq among them.
func (in *Installation) Libraries() string { return in.libraries }

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
