package image

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/chaperone-dev/chaperone/hack/cluster/folder"
)

// System makes the named image that the node itself runs, from the program of
// that name, unless it is younger than the program.
func System(f folder.Folder, name string) error {
	program, err := os.Stat(f.Bin(name))
	if err != nil {
		return fmt.Errorf("looking for %s: %w", name, err)
	}
	archive, err := os.Stat(f.Image(name))
	if err == nil && archive.ModTime().After(program.ModTime()) {
		return nil
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("looking for the image of %s: %w", name, err)
	}
	return Files{
		Reference: Reference(name),
		Files:     []File{{Host: f.Bin(name), Path: "/" + name}},
		Config:    v1.Config{Entrypoint: []string{"/" + name}, User: "65535:65535"},
	}.Write(f.Image(name))
}
