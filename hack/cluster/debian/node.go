package debian

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/chaperone-dev/chaperone/hack/cluster/folder"
)

// nodePackages is what the node runs from the distribution. The archives'
// shared libraries come from the host where it has them (any host with apt has
// runc's), and those of nft from here.
var nodePackages = []string{"runc", "nftables"}

// ExpectNodeTools is how long NodeTools takes, most of it the mirror's answers.
const ExpectNodeTools = 20 * time.Second

// fromHost are packages that every host with apt has, the C library first: a
// second copy of that beside the host's own loader does not run.
var fromHost = map[string]bool{
	"libc6": true, "gcc-12-base": true, "gcc-13-base": true, "gcc-14-base": true, "libgcc-s1": true,
}

// At is the private apt of the cluster's folder.
func At(f folder.Folder) Apt { return Apt{Dir: f.Debian("apt")} }

// NodeTools makes sure that runc and nft are there.
func NodeTools(ctx context.Context, f folder.Folder) error {
	apt := At(f)
	packages, err := apt.Fetch(ctx, nodePackages, func(name string) bool { return fromHost[name] })
	if err != nil {
		return err
	}
	dir := f.Debian("node")
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("clearing %s: %w", dir, err)
	}
	for _, p := range packages {
		if err := Unpack(ctx, apt.File(p), dir); err != nil {
			return err
		}
	}
	return wrapNft(f)
}

// HaveNodeTools says whether NodeTools has been run.
func HaveNodeTools(f folder.Folder) bool {
	for _, path := range []string{f.Tool("runc"), nftWrapper(f)} {
		if _, err := os.Stat(path); err != nil {
			return false
		}
	}
	return true
}

func nftWrapper(f folder.Folder) string { return f.Debian("path", "nft") }

// NodePath is what the node's PATH starts with.
func NodePath(f folder.Folder) string { return f.Debian("path") }

// wrapNft puts an nft on the node's PATH that finds its libraries. Only nft
// gets to see them: runc passes no environment on to what it starts, and the
// host's programs want the host's libraries.
func wrapNft(f folder.Folder) error {
	libraries, err := filepath.Glob(f.Debian("node", "usr", "lib", "*", "libnftables.so.*"))
	if err != nil || len(libraries) == 0 {
		return fmt.Errorf("the nftables packages hold no libnftables (%w)", err)
	}
	dirs := []string{filepath.Dir(libraries[0])}
	dirs = append(dirs, strings.Replace(dirs[0], "/usr/lib/", "/lib/", 1))
	script := fmt.Sprintf("#!/bin/sh\nLD_LIBRARY_PATH='%s' exec '%s' \"$@\"\n", strings.Join(dirs, ":"), f.Tool("nft"))
	if err := os.MkdirAll(NodePath(f), 0o755); err != nil {
		return fmt.Errorf("creating %s: %w", NodePath(f), err)
	}
	if err := os.WriteFile(nftWrapper(f), []byte(script), 0o755); err != nil {
		return fmt.Errorf("writing the nft wrapper: %w", err)
	}
	return nil
}
