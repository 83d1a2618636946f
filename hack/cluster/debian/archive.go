package debian

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Walk calls visit for each file that the archive would install, in its order.
// Names are relative and clean ("usr/bin/bash"); content is only readable
// during the call.
func Walk(ctx context.Context, archive string, visit func(header *tar.Header, content io.Reader) error) (err error) {
	cmd := exec.CommandContext(ctx, "dpkg-deb", "--fsys-tarfile", archive)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("unpacking %s: %w", archive, err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("unpacking %s: %w", archive, err)
	}
	defer func() {
		// What was not read would block dpkg-deb for ever.
		_, drained := io.Copy(io.Discard, stdout)
		if waited := cmd.Wait(); err == nil && waited != nil {
			err = fmt.Errorf("unpacking %s: %w: %s", archive, waited, strings.TrimSpace(stderr.String()))
		} else if err == nil && drained != nil {
			err = fmt.Errorf("unpacking %s: %w", archive, drained)
		}
	}()
	for r := tar.NewReader(stdout); ; {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("unpacking %s: %w", archive, err)
		}
		header.Name = clean(header.Name)
		if header.Typeflag == tar.TypeLink {
			header.Linkname = clean(header.Linkname)
		}
		if header.Name == "" {
			continue
		}
		if err := visit(header, r); err != nil {
			return err
		}
	}
}

// clean makes a name of an archive relative, without any way up.
func clean(name string) string {
	return strings.TrimPrefix(filepath.Clean("/"+name), "/")
}

// Unpack writes the archive's files below dir.
func Unpack(ctx context.Context, archive, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("unpacking %s: %w", archive, err)
	}
	if out, err := exec.CommandContext(ctx, "dpkg-deb", "-x", archive, dir).CombinedOutput(); err != nil {
		return fmt.Errorf("unpacking %s: %w: %s", archive, err, strings.TrimSpace(string(out)))
	}
	return nil
}
