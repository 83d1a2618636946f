package image

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/chaperone-dev/chaperone/hack/cluster/debian"
	"github.com/chaperone-dev/chaperone/hack/cluster/folder"
)

//go:embed scripts
var scripts embed.FS

// Prefix is what the references of images made here start with. A registry of
// that name does not exist, so nothing is ever pulled in their place.
const Prefix = "localhost/chaperone/"

// Tag is that of images made here.
const Tag = ":dev"

// Reference is the full name of an image made here.
func Reference(name string) string { return Prefix + name + Tag }

// distribution is an image of packages of the distribution.
type distribution struct {
	packages []string
	// scripts are files of the scripts folder and where they go.
	scripts map[string]string
	// links are symbolic links and their targets.
	links map[string]string
	// kubectl says that the image has one.
	kubectl bool
	config  v1.Config
}

// distributions are the images for tests and the demonstration.
var distributions = map[string]distribution{
	// toolbox is what an agent's image holds.
	"toolbox": {
		packages: []string{
			"curl", "iproute2", "netcat-openbsd", "openssh-client", "openssl",
			"postgresql-client", "python3-minimal",
		},
		links:   map[string]string{"usr/bin/nc": "nc.openbsd"},
		kubectl: true,
		config: v1.Config{
			Env:        []string{"PATH=/usr/local/bin:/usr/bin:/usr/sbin", "HOME=/home/agent", "LANG=C.UTF-8"},
			User:       fmt.Sprintf("%d:%d", agentUser, agentUser),
			WorkingDir: "/home/agent",
			Cmd:        []string{"sleep", "infinity"},
		},
	},
	"postgres": {
		packages: []string{"postgresql"},
		scripts:  map[string]string{"postgres-entrypoint.sh": "usr/local/bin/postgres-entrypoint"},
		config: v1.Config{
			Env: []string{
				"PATH=/usr/local/bin:/usr/bin:/usr/sbin", "LANG=C.UTF-8",
				"PGDATA=/var/lib/postgresql/data/pgdata", "TLS_DIR=/tls",
			},
			User:         fmt.Sprintf("%d:%d", postgresUser, postgresUser),
			WorkingDir:   "/var/lib/postgresql",
			Entrypoint:   []string{"/usr/local/bin/postgres-entrypoint"},
			ExposedPorts: map[string]struct{}{"5432/tcp": {}},
			StopSignal:   "SIGINT", // fast shutdown (PostgreSQL manual, 19.5)
		},
	},
	"sshd": {
		packages: []string{"openssh-server"},
		scripts:  map[string]string{"sshd-entrypoint.sh": "usr/local/bin/sshd-entrypoint"},
		config: v1.Config{
			Env:          []string{"PATH=/usr/local/bin:/usr/bin:/usr/sbin", "LANG=C.UTF-8"},
			Entrypoint:   []string{"/usr/local/bin/sshd-entrypoint"},
			ExposedPorts: map[string]struct{}{"22/tcp": {}},
		},
	},
}

// ExpectDistribution is how long BuildDistribution takes on two idle cores.
const ExpectDistribution = 25 * time.Second

// Distributions are the names that BuildDistribution takes.
func Distributions() []string { return slices.Sorted(maps.Keys(distributions)) }

// NeedsKubectl says whether the named image holds kubectl, which must have
// been built before.
func NeedsKubectl(name string) bool { return distributions[name].kubectl }

// Current says whether the named image is there and was made as it would be
// made now. The distribution's updates do not count: removing the archive is
// how to get them.
func Current(f folder.Folder, name string) (bool, error) {
	want, err := distributions[name].fingerprint(f)
	if err != nil {
		return false, err
	}
	have, err := os.ReadFile(f.Stamp("image-" + name))
	if err != nil || string(have) != want {
		return false, nil
	}
	_, err = os.Stat(f.Image(name))
	return err == nil, nil
}

func (d distribution) fingerprint(f folder.Folder) (string, error) {
	h := sha256.New()
	fmt.Fprintf(h, "%v", []any{runtime.GOARCH, basePackages, leave, leaveFiles, d.packages, d.scripts, d.links, d.config, passwd, group})
	for _, name := range slices.Sorted(maps.Keys(d.scripts)) {
		data, err := scripts.ReadFile("scripts/" + name)
		if err != nil {
			return "", fmt.Errorf("reading %s: %w", name, err)
		}
		h.Write(data)
	}
	if d.kubectl {
		stamp, err := os.ReadFile(f.Stamp("image-bin-kubectl"))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("reading kubectl's stamp: %w", err)
		}
		h.Write(stamp)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// BuildDistribution makes the named image's archive. say is told what it is at.
func BuildDistribution(ctx context.Context, f folder.Folder, name string, say func(format string, args ...any)) (err error) {
	d, ok := distributions[name]
	if !ok {
		return fmt.Errorf("no image %q: there are %v", name, Distributions())
	}
	apt := debian.At(f)
	say("resolving packages")
	base, err := packages(ctx, apt, basePackages)
	if err != nil {
		return err
	}
	all, err := packages(ctx, apt, slices.Concat(basePackages, d.packages))
	if err != nil {
		return err
	}
	own := slices.DeleteFunc(all, func(p debian.Package) bool { return slices.Contains(base, p) })
	scratch, err := os.MkdirTemp(f.Debian(), ".layers-*")
	if err != nil {
		return fmt.Errorf("making room for layers: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(scratch)) }()
	say("unpacking %d packages of the base", len(base))
	bottom, err := sharedBase(ctx, f, apt, base, scratch)
	if err != nil {
		return err
	}
	say("unpacking %d packages", len(own))
	top, err := d.writeTop(ctx, f, apt, own, filepath.Join(scratch, "top.tar"))
	if err != nil {
		return err
	}
	say("writing the archive")
	image, err := assemble(d.config, bottom, top)
	if err != nil {
		return err
	}
	if err := write(f.Image(name), Reference(name), image); err != nil {
		return err
	}
	fingerprint, err := d.fingerprint(f)
	if err != nil {
		return err
	}
	if err := os.WriteFile(f.Stamp("image-"+name), []byte(fingerprint), 0o644); err != nil {
		return fmt.Errorf("noting what was built: %w", err)
	}
	return nil
}

// sharedBase makes the base layer once for all images of the same packages.
func sharedBase(ctx context.Context, f folder.Folder, apt debian.Apt, base []debian.Package, scratch string) (layer, error) {
	h := sha256.New()
	fmt.Fprintf(h, "%v", []any{base, leaveFiles, passwd, group})
	kept := f.Debian("base-" + hex.EncodeToString(h.Sum(nil)[:8]) + ".tar")
	if _, err := os.Stat(kept); err == nil {
		return reopen(kept)
	}
	l, err := writeBase(ctx, apt, base, filepath.Join(scratch, "base.tar"))
	if err != nil {
		return layer{}, err
	}
	if err := os.Rename(l.path, kept); err != nil {
		return layer{}, fmt.Errorf("keeping the base layer: %w", err)
	}
	l.path = kept
	return l, nil
}

func (d distribution) writeTop(ctx context.Context, f folder.Folder, apt debian.Apt, own []debian.Package, target string) (layer, error) {
	w, err := newLayerWriter(target)
	if err != nil {
		return layer{}, err
	}
	// The base has these; a folder of the same name would hide a link there.
	for _, name := range append([]string{"usr", "etc", "var", "run", "home"}, merged...) {
		w.seen[name] = true
	}
	for _, name := range slices.Sorted(maps.Keys(d.scripts)) {
		data, err := scripts.ReadFile(path.Join("scripts", name))
		if err != nil {
			return layer{}, fmt.Errorf("reading %s: %w", name, err)
		}
		if err := w.addText(d.scripts[name], 0o755, string(data)); err != nil {
			return layer{}, err
		}
	}
	if d.kubectl {
		if err := w.addHostFile(filepath.Join(f.Root, "image-bin", "kubectl"), "usr/local/bin/kubectl"); err != nil {
			return layer{}, err
		}
	}
	u := &unpacker{w: w}
	for _, p := range own {
		if err := u.unpack(ctx, apt.File(p)); err != nil {
			return layer{}, err
		}
	}
	if err := u.finish(); err != nil {
		return layer{}, err
	}
	for _, name := range slices.Sorted(maps.Keys(d.links)) {
		if err := w.add(symlink(name, d.links[name]), nil); err != nil {
			return layer{}, err
		}
	}
	return w.close()
}
