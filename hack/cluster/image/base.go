package image

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/chaperone-dev/chaperone/hack/cluster/debian"
)

// basePackages are in the layer that the distribution's images share.
var basePackages = []string{
	"base-files", "bash", "ca-certificates", "coreutils", "dash", "findutils", "grep",
	"hostname", "libc-bin", "mawk", "procps", "sed", "tar", "tzdata",
}

// Users of the images. Their numbers are fixed, so that a pod can name them.
const (
	agentUser    = 1000
	postgresUser = 999
)

const passwd = `root:x:0:0:root:/root:/bin/bash
postgres:x:999:999:PostgreSQL:/var/lib/postgresql:/bin/bash
agent:x:1000:1000:agent:/home/agent:/bin/bash
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
`

const group = `root:x:0:
tty:x:5:
postgres:x:999:
agent:x:1000:
nogroup:x:65534:
`

// writeBase makes the shared layer.
func writeBase(ctx context.Context, apt debian.Apt, base []debian.Package, target string) (layer, error) {
	w, err := newLayerWriter(target)
	if err != nil {
		return layer{}, err
	}
	for _, name := range merged[:4] {
		if err := w.add(symlink(name, "usr/"+name), nil); err != nil {
			return layer{}, err
		}
	}
	if err := w.add(symlink("lib64", "usr/lib64"), nil); err != nil {
		return layer{}, err
	}
	for _, file := range []struct{ name, text string }{
		{"etc/passwd", passwd},
		{"etc/group", group},
		{"etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\nservices: files\n"},
	} {
		if err := w.addText(file.name, 0o644, file.text); err != nil {
			return layer{}, err
		}
	}
	for _, d := range []struct {
		name  string
		mode  int64
		owner int
	}{
		{"root", 0o700, 0},
		{"home/agent", 0o755, agentUser},
		{"var/lib/postgresql", 0o755, postgresUser},
		{"run/postgresql", 0o3777, postgresUser},
		{"tmp", 0o1777, 0},
		{"var/tmp", 0o1777, 0},
	} {
		if err := w.add(directory(d.name, d.mode, d.owner), nil); err != nil {
			return layer{}, err
		}
	}
	if err := w.add(symlink("var/run", "/run"), nil); err != nil {
		return layer{}, err
	}
	if err := w.add(symlink("usr/bin/awk", "mawk"), nil); err != nil {
		return layer{}, err
	}
	u := &unpacker{w: w}
	for _, p := range base {
		if err := u.unpack(ctx, apt.File(p)); err != nil {
			return layer{}, err
		}
	}
	if err := u.finish(); err != nil {
		return layer{}, err
	}
	return w.close()
}

// reopen finds a layer that was written before.
func reopen(path string) (layer, error) {
	file, err := os.Open(path)
	if err != nil {
		return layer{}, fmt.Errorf("opening a layer: %w", err)
	}
	defer file.Close()
	h := sha256.New()
	size, err := io.Copy(h, file)
	if err != nil {
		return layer{}, fmt.Errorf("reading a layer: %w", err)
	}
	return layer{path: path, size: size, hash: v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(h.Sum(nil))}}, nil
}
