package image

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/chaperone-dev/chaperone/hack/cluster/debian"
)

// leave are packages that others depend on for their installation scripts,
// which never run here, or for parts that are left out too (an LLVM of 100 MB
// for PostgreSQL's JIT). The patterns are those of path.Match.
var leave = []string{
	"adduser", "debconf", "debianutils", "dpkg", "init-system-helpers", "libdb5*",
	"libdebconfclient0", "libfile-find-rule-perl", "libgdbm*", "libjson-perl",
	"libllvm*", "libnumber-compare-perl", "libperl*", "libsemanage*", "libsepol*",
	"libtext-glob-perl", "libz3-*", "locales", "lsb-base", "passwd", "perl", "perl-base",
	"perl-modules-*", "postgresql-client-common", "postgresql-common*", "sensible-utils",
	"ssl-cert", "sysvinit-utils", "ucf", "usrmerge",
}

// leaveFiles are what no program needs to run.
var leaveFiles = []string{
	"usr/share/doc/", "usr/share/man/", "usr/share/info/", "usr/share/locale/",
	"usr/share/lintian/", "usr/share/bug/", "usr/share/bash-completion/",
	"usr/share/postgresql-common/", "usr/share/perl5/", "usr/share/gcc/",
	"etc/init.d/", "lib/systemd/", "usr/lib/systemd/", "lib/init/", "usr/lib/init/",
	"etc/cron.daily/", "usr/lib/tmpfiles.d/",
}

// merged are the folders that a Debian system has only under /usr (Debian
// bug 1020920), whatever a package says.
var merged = []string{"bin", "sbin", "lib", "lib32", "lib64", "libx32"}

const certificates = "usr/share/ca-certificates/"

// packages resolves names and all they need, without what images leave out.
func packages(ctx context.Context, apt debian.Apt, names []string) ([]debian.Package, error) {
	all, err := apt.Fetch(ctx, names, left)
	if err != nil {
		return nil, err
	}
	// The order of a resolution may change from one day to the next.
	slices.SortFunc(all, func(a, b debian.Package) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

func left(name string) bool {
	return slices.ContainsFunc(leave, func(pattern string) bool {
		ok, err := path.Match(pattern, name)
		return err == nil && ok
	})
}

// unpacker copies packages into a layer, and does on the way the few things
// that their installation scripts would do.
type unpacker struct {
	w *layerWriter
	// bundle is all certificate authorities.
	bundle bytes.Buffer
	// versioned are programs of PostgreSQL, in a folder for each major version.
	versioned []string
}

func (u *unpacker) unpack(ctx context.Context, archive string) error {
	return debian.Walk(ctx, archive, func(header *tar.Header, content io.Reader) error {
		if skipped(header.Name) {
			return nil
		}
		header.Name = underUsr(header.Name)
		if header.Typeflag == tar.TypeLink {
			header.Linkname = underUsr(header.Linkname)
		}
		if slices.Contains(merged, header.Name) {
			return nil
		}
		if ok, err := path.Match("usr/lib/postgresql/*/bin/*", header.Name); err == nil && ok {
			u.versioned = append(u.versioned, header.Name)
		}
		if strings.HasPrefix(header.Name, certificates) && strings.HasSuffix(header.Name, ".crt") {
			if _, err := io.Copy(&u.bundle, content); err != nil {
				return fmt.Errorf("reading %s: %w", header.Name, err)
			}
			return nil
		}
		return u.w.add(header, content)
	})
}

// finish adds what the installation scripts would have made.
func (u *unpacker) finish() error {
	if u.bundle.Len() > 0 {
		if err := u.w.addText("etc/ssl/certs/ca-certificates.crt", 0o644, u.bundle.String()); err != nil {
			return err
		}
	}
	for _, program := range u.versioned {
		link := "usr/bin/" + path.Base(program)
		if err := u.w.add(symlink(link, "/"+program), nil); err != nil {
			return err
		}
	}
	return nil
}

func skipped(name string) bool {
	for _, prefix := range leaveFiles {
		if strings.HasPrefix(name+"/", prefix) {
			return true
		}
	}
	// PostgreSQL's JIT, without the LLVM that it needs.
	return strings.Contains(name, "/lib/bitcode") || strings.Contains(name, "/llvmjit")
}

func underUsr(name string) string {
	top, _, _ := strings.Cut(name, "/")
	if slices.Contains(merged, top) && name != top {
		return "usr/" + name
	}
	return name
}
