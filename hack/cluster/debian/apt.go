// Package debian takes programs from Debian (or Ubuntu) packages without
// installing them: its own package lists and downloads, apt's own signature
// checks, and archives read where they lie.
package debian

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// listsMaxAge is when package lists are fetched anew: a mirror drops a package
// that a security update replaced some time after, not at once.
const listsMaxAge = 7 * 24 * time.Hour

// Apt is a private copy of apt's state, below Dir. The host's own lists, cache
// and package database are neither read nor written; its sources, keys and
// proxy settings are used.
type Apt struct {
	Dir string
}

func (a Apt) path(parts ...string) string {
	return filepath.Join(append([]string{a.Dir}, parts...)...)
}

// settings point apt at the private state. An empty status file means that
// nothing is installed, so that a resolution is complete.
func (a Apt) settings() map[string]string {
	return map[string]string{
		"Dir::State":            a.path("state"),
		"Dir::State::lists":     a.path("lists"),
		"Dir::State::status":    a.path("status"),
		"Dir::Cache":            a.path("cache"),
		"Dir::Log":              a.path("log"),
		"Dir::Etc::sourceparts": a.path("sources"),
		"Dir::Etc::sourcelist":  "/dev/null",
		"Dir::Etc::main":        "/dev/null",
		"Dir::Etc::parts":       "/dev/null",
		"APT::Sandbox::User":    "root",

		"APT::Install-Recommends": "false",
		"APT::Get::List-Cleanup":  "false",
		"Acquire::Languages":      "none",
		"Acquire::Retries":        "3",
		"Acquire::http::Timeout":  "30",
		// Software centre metadata, a third of what an update downloads.
		"Acquire::IndexTargets::deb::DEP-11::DefaultEnabled": "false",
	}
}

// configure writes the configuration that stands for the host's own, of which
// only the way to the network (proxies, timeouts) is taken over: its hooks
// would clean the host's cache.
func (a Apt) configure(ctx context.Context) error {
	host, err := exec.CommandContext(ctx, "apt-config", "dump").Output()
	if err != nil {
		return fmt.Errorf("reading apt's configuration: %w", err)
	}
	if err := os.WriteFile(a.path("apt.conf"), []byte(configuration(string(host), a.settings())), 0o644); err != nil {
		return fmt.Errorf("writing apt's configuration: %w", err)
	}
	return nil
}

func configuration(host string, settings map[string]string) string {
	var b strings.Builder
	for _, line := range strings.Split(host, "\n") {
		if strings.HasPrefix(line, "Acquire::") {
			fmt.Fprintln(&b, line)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(settings)) {
		fmt.Fprintf(&b, "%s %q;\n", key, settings[key])
	}
	return b.String()
}

func (a Apt) run(ctx context.Context, dir string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "apt-get", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LC_ALL=C", "APT_CONFIG="+a.path("apt.conf"))
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("apt-get %s: %w\n%s", args[0], err, strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), nil
}

// Refresh makes sure that there are package lists, and fetches them anew when
// they are older than listsMaxAge or when force is set.
func (a Apt) Refresh(ctx context.Context, force bool) error {
	for _, dir := range []string{"state", "lists/partial", "cache/archives/partial", "none/partial", "sources", "log"} {
		if err := os.MkdirAll(a.path(dir), 0o755); err != nil {
			return fmt.Errorf("preparing apt's folders: %w", err)
		}
	}
	if err := os.WriteFile(a.path("status"), nil, 0o644); err != nil {
		return fmt.Errorf("preparing apt's folders: %w", err)
	}
	if err := a.configure(ctx); err != nil {
		return err
	}
	stamp := a.path("refreshed")
	if info, err := os.Stat(stamp); err == nil && !force && time.Since(info.ModTime()) < listsMaxAge {
		return nil
	} else if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("looking at the age of the package lists: %w", err)
	}
	if err := copySources("/etc/apt", a.path("sources")); err != nil {
		return err
	}
	if _, err := a.run(ctx, a.Dir, "update"); err != nil {
		return fmt.Errorf("fetching package lists: %w", err)
	}
	if err := os.WriteFile(stamp, nil, 0o644); err != nil {
		return fmt.Errorf("noting the age of the package lists: %w", err)
	}
	return nil
}

// Resolve returns the named packages and all that they depend on, without
// those that leave says.
func (a Apt) Resolve(ctx context.Context, names []string, leave func(name string) bool) ([]Package, error) {
	// It leaves out what the cache holds already, so it is shown an empty one.
	none := "Dir::Cache::archives=" + a.path("none")
	out, err := a.run(ctx, a.Dir, append([]string{"install", "--print-uris", "-qq", "-y", "-o", none}, names...)...)
	if err != nil {
		return nil, fmt.Errorf("resolving %s: %w", strings.Join(names, ", "), err)
	}
	all, err := parseURIs(out)
	if err != nil {
		return nil, err
	}
	var wanted []Package
	for _, p := range all {
		if !leave(p.Name) {
			wanted = append(wanted, p)
		}
	}
	return wanted, nil
}

// Download fetches what is not there yet; apt checks each package against the
// signed lists.
func (a Apt) Download(ctx context.Context, packages []Package) error {
	var missing []string
	for _, p := range packages {
		if info, err := os.Stat(a.File(p)); err != nil || info.Size() != p.Size {
			missing = append(missing, p.Name+"="+p.Version)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	if _, err := a.run(ctx, a.path("cache", "archives"), append([]string{"download"}, missing...)...); err != nil {
		return fmt.Errorf("downloading packages: %w", err)
	}
	for _, p := range packages {
		if _, err := os.Stat(a.File(p)); err != nil {
			return fmt.Errorf("downloading packages: apt-get left no %s", filepath.Base(a.File(p)))
		}
	}
	return nil
}

// Fetch resolves and downloads. Lists that have gone stale name packages that
// the mirror no longer has, so a failure is tried once more with new lists.
func (a Apt) Fetch(ctx context.Context, names []string, leave func(name string) bool) ([]Package, error) {
	var failures []error
	for _, force := range []bool{false, true} {
		err := a.Refresh(ctx, force)
		if err == nil {
			var packages []Package
			if packages, err = a.Resolve(ctx, names, leave); err == nil {
				if err = a.Download(ctx, packages); err == nil {
					return packages, nil
				}
			}
		}
		failures = append(failures, err)
	}
	return nil, errors.Join(failures...)
}

// File is where a downloaded package is.
func (a Apt) File(p Package) string { return a.path("cache", "archives", p.File) }
