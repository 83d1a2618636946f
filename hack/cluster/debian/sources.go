package debian

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// copySources copies the host's package sources, only those of the
// distribution itself where they can be told: a host often has third-party
// ones beside them, whose mirror being down must not stop us.
func copySources(etc, into string) error {
	codename, err := codename("/etc/os-release")
	if err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(etc, "sources.list.d", "*"))
	if err != nil {
		return fmt.Errorf("listing package sources: %w", err)
	}
	own, all := map[string][]byte{}, map[string][]byte{}
	for _, file := range append([]string{filepath.Join(etc, "sources.list")}, files...) {
		ext := filepath.Ext(file)
		if ext != ".list" && ext != ".sources" {
			continue
		}
		data, err := os.ReadFile(file)
		if errors.Is(err, os.ErrNotExist) {
			continue
		} else if err != nil {
			return fmt.Errorf("reading package sources: %w", err)
		}
		all[filepath.Base(file)] = data
		if ofDistribution(string(data), codename) {
			own[filepath.Base(file)] = data
		}
	}
	if len(own) == 0 {
		own = all
	}
	if len(own) == 0 {
		return fmt.Errorf("no package sources in %s: add the distribution's own", etc)
	}
	for name, data := range own {
		if err := os.WriteFile(filepath.Join(into, name), data, 0o644); err != nil {
			return fmt.Errorf("copying package sources: %w", err)
		}
	}
	return nil
}

// ofDistribution says whether one of the suites is the release itself: a third
// party's suite has a name of its own ("nodistro", "cloud-sdk-bookworm").
func ofDistribution(source, codename string) bool {
	for _, line := range strings.Split(source, "\n") {
		if strings.HasPrefix(strings.TrimSpace(line), "#") {
			continue
		}
		fields := strings.Fields(line)
		for i, word := range fields {
			if word == codename && (fields[0] == "Suites:" || i >= 2) {
				return true
			}
		}
	}
	return false
}

func codename(osRelease string) (string, error) {
	data, err := os.ReadFile(osRelease)
	if err != nil {
		return "", fmt.Errorf("reading the distribution's name: %w", err)
	}
	for _, line := range strings.Split(string(data), "\n") {
		if value, ok := strings.CutPrefix(line, "VERSION_CODENAME="); ok {
			return strings.Trim(value, `"`), nil
		}
	}
	return "", nil
}
