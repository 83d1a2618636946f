package debian

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

// Package is one archive of the distribution.
type Package struct {
	Name    string
	Version string
	// File is the archive's name as apt saves it.
	File string
	// Size is in bytes.
	Size int64
}

// parseURIs reads what `apt-get --print-uris` says: a quoted address, the file
// name (in which apt writes a version's colon as %3a), the size and a hash.
func parseURIs(out string) ([]Package, error) {
	var packages []Package
	for _, line := range strings.Split(strings.TrimSpace(out), "\n") {
		if line == "" {
			continue
		}
		fields := strings.Fields(line)
		if len(fields) < 3 || !strings.HasPrefix(fields[0], "'") {
			return nil, fmt.Errorf("apt-get said something else than a package: %q", line)
		}
		size, err := strconv.ParseInt(fields[2], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("apt-get gave a package no size: %q", line)
		}
		parts := strings.Split(strings.TrimSuffix(fields[1], ".deb"), "_")
		if len(parts) != 3 {
			return nil, fmt.Errorf("apt-get gave a package an unusual name: %q", line)
		}
		version, err := url.PathUnescape(parts[1])
		if err != nil {
			return nil, fmt.Errorf("apt-get gave a package an unusual version: %q", line)
		}
		packages = append(packages, Package{Name: parts[0], Version: version, File: fields[1], Size: size})
	}
	return packages, nil
}
