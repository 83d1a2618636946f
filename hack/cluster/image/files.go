package image

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Files is an image of one layer that holds files of the host and nothing
// else. The same files give the same image, bit for bit.
type Files struct {
	// Reference is the image's name and tag, "localhost/chaperone/pause:dev".
	Reference string
	// Files are what it holds.
	Files []File
	// Config is its entrypoint, arguments, user, environment, labels.
	Config v1.Config
}

// File is a regular file of the host and its place in an image.
type File struct {
	Host, Path string
}

// ParseFile reads "host/path:/path/in/image". The last colon separates.
func ParseFile(s string) (File, error) {
	i := strings.LastIndex(s, ":")
	if i <= 0 || !path.IsAbs(s[i+1:]) || strings.HasSuffix(s, "/") {
		return File{}, fmt.Errorf("%q is not of the form host/path:/path/in/image", s)
	}
	return File{Host: s[:i], Path: path.Clean(s[i+1:])}, nil
}

// Write makes the image's archive.
func (f Files) Write(target string) (err error) {
	if f.Reference == "" || len(f.Files) == 0 {
		return errors.New("an image needs a name and at least one file")
	}
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return fmt.Errorf("writing %s: %w", target, err)
	}
	scratch, err := os.MkdirTemp(filepath.Dir(target), ".layer-*")
	if err != nil {
		return fmt.Errorf("writing %s: %w", target, err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(scratch)) }()
	w, err := newLayerWriter(filepath.Join(scratch, "layer.tar"))
	if err != nil {
		return err
	}
	for _, file := range f.Files {
		if err := w.addHostFile(file.Host, file.Path); err != nil {
			return err
		}
	}
	// Programs that make temporary files expect a place for them.
	if err := w.add(directory("tmp", 0o1777, 0), nil); err != nil {
		return err
	}
	l, err := w.close()
	if err != nil {
		return err
	}
	image, err := assemble(f.Config, l)
	if err != nil {
		return err
	}
	return write(target, f.Reference, image)
}
