package resolver

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/chaperone-dev/chaperone/sidecar/layout"
)

// Note reads the resolv.conf at file and keeps it in dir. What is there already stays and is returned: an init
// container may run again after agent code did (KEP-753, "init containers must be idempotent").
func Note(file, dir string) (Settings, error) {
	noted, err := Load(dir)
	if err == nil {
		return noted, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return Settings{}, err
	}
	f, err := os.Open(file)
	if err != nil {
		return Settings{}, err
	}
	defer f.Close()
	s, err := Parse(f)
	if err != nil {
		return Settings{}, fmt.Errorf("reading %s: %w", file, err)
	}
	if err := s.check(); err != nil {
		return Settings{}, fmt.Errorf("%s: %w", file, err)
	}
	return s, s.save(dir)
}

// check refuses nameservers that the pod itself could play.
func (s Settings) check() error {
	if len(s.Nameservers) == 0 {
		return errors.New("no nameserver; set the pod's dnsPolicy or dnsConfig.nameservers")
	}
	for _, a := range s.Nameservers {
		if a.IsLoopback() || a.IsUnspecified() || a.IsMulticast() {
			return fmt.Errorf("nameserver %s is the pod itself or no host at all; names that decide where connections may go cannot come from inside the pod: set dnsConfig.nameservers to the cluster's DNS", a)
		}
	}
	return nil
}

// save writes the nameservers last: a reader that finds them finds the rest.
func (s Settings) save(dir string) error {
	var servers strings.Builder
	for _, a := range s.Nameservers {
		servers.WriteString(a.String() + "\n")
	}
	search := fmt.Sprintf("options ndots:%d\n", s.Ndots)
	if len(s.Search) > 0 {
		search = "search " + strings.Join(s.Search, " ") + "\n" + search
	}
	if err := replace(filepath.Join(dir, layout.SearchFile), search); err != nil {
		return err
	}
	return replace(filepath.Join(dir, layout.NameserversFile), servers.String())
}

// replace makes the file appear whole or not at all. It is read by another uid.
func replace(name, content string) error {
	tmp := name + ".new"
	if err := os.WriteFile(tmp, []byte(content), 0o644); err != nil { //nolint:gosec // G306: another uid reads it
		return err
	}
	// The mode is not left to the umask.
	if err := os.Chmod(tmp, 0o644); err != nil { //nolint:gosec // G302: another uid reads it
		return err
	}
	return os.Rename(tmp, name)
}

// Load reads what Note kept. The error wraps fs.ErrNotExist where nothing was noted.
func Load(dir string) (Settings, error) {
	servers, err := os.ReadFile(filepath.Join(dir, layout.NameserversFile))
	if err != nil {
		return Settings{}, err
	}
	f, err := os.Open(filepath.Join(dir, layout.SearchFile))
	if err != nil {
		return Settings{}, err
	}
	defer f.Close()
	s, err := Parse(f)
	if err != nil {
		return Settings{}, fmt.Errorf("reading %s: %w", layout.SearchFile, err)
	}
	s.Nameservers = nil
	for line := range strings.Lines(string(servers)) {
		a, err := netip.ParseAddr(strings.TrimSpace(line))
		if err != nil {
			return Settings{}, fmt.Errorf("reading %s: %w", layout.NameserversFile, err)
		}
		s.Nameservers = append(s.Nameservers, a)
	}
	return s, s.check()
}
