// Package image makes container images from files, without a container engine
// or a registry, as archives that containerd, Docker and kind import.
package image

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// epoch is the time of every file that is not from a package: an image is then
// a function of its content.
var epoch = time.Unix(0, 0).UTC()

// layer is an uncompressed one in a file. Packing it would take longer than
// every import of it.
type layer struct {
	path string
	hash v1.Hash
	size int64
}

var _ v1.Layer = layer{}

func (l layer) Digest() (v1.Hash, error)             { return l.hash, nil }
func (l layer) DiffID() (v1.Hash, error)             { return l.hash, nil }
func (l layer) Compressed() (io.ReadCloser, error)   { return os.Open(l.path) }
func (l layer) Uncompressed() (io.ReadCloser, error) { return os.Open(l.path) }
func (l layer) Size() (int64, error)                 { return l.size, nil }
func (l layer) MediaType() (types.MediaType, error)  { return types.OCIUncompressedLayer, nil }

// layerWriter writes one layer. A path that was written once is not written
// again, so the first file of a name wins.
type layerWriter struct {
	file    *os.File
	archive *tar.Writer
	sum     func() v1.Hash
	seen    map[string]bool
}

func newLayerWriter(path string) (*layerWriter, error) {
	file, err := os.Create(path)
	if err != nil {
		return nil, fmt.Errorf("creating a layer: %w", err)
	}
	h := sha256.New()
	return &layerWriter{
		file:    file,
		archive: tar.NewWriter(io.MultiWriter(file, h)),
		sum: func() v1.Hash {
			return v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(h.Sum(nil))}
		},
		seen: map[string]bool{},
	}, nil
}

// close ends the layer.
func (w *layerWriter) close() (layer, error) {
	if err := w.archive.Close(); err != nil {
		return layer{}, fmt.Errorf("ending a layer: %w", err)
	}
	size, err := w.file.Seek(0, io.SeekEnd)
	if err != nil {
		return layer{}, fmt.Errorf("ending a layer: %w", err)
	}
	if err := w.file.Close(); err != nil {
		return layer{}, fmt.Errorf("ending a layer: %w", err)
	}
	return layer{path: w.file.Name(), hash: w.sum(), size: size}, nil
}

// add writes a file, and first the folders above it that are missing.
func (w *layerWriter) add(header *tar.Header, content io.Reader) error {
	name := strings.Trim(header.Name, "/")
	if name == "" || w.seen[name] {
		return nil
	}
	if parent := path.Dir(name); parent != "." {
		if err := w.add(directory(parent, 0o755, 0), nil); err != nil {
			return err
		}
	}
	w.seen[name] = true
	h := *header
	h.Name = name
	if h.Typeflag == tar.TypeDir {
		h.Name += "/"
	}
	// Names of the machine that packed it say nothing in an image.
	h.Uname, h.Gname = "", ""
	h.Format = tar.FormatUnknown
	if h.ModTime.IsZero() {
		h.ModTime = epoch
	}
	if err := w.archive.WriteHeader(&h); err != nil {
		return fmt.Errorf("adding %s to a layer: %w", name, err)
	}
	if h.Typeflag != tar.TypeReg {
		return nil
	}
	if _, err := io.Copy(w.archive, content); err != nil {
		return fmt.Errorf("adding %s to a layer: %w", name, err)
	}
	return nil
}

// addHostFile adds a file of the host with mode 0755 if anybody may execute
// it, else 0644, owned by root.
func (w *layerWriter) addHostFile(host, name string) error {
	file, err := os.Open(host)
	if err != nil {
		return fmt.Errorf("adding %s to an image: %w", host, err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return fmt.Errorf("adding %s to an image: %w", host, err)
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("adding %s to an image: it is not a file", host)
	}
	mode := int64(0o644)
	if info.Mode()&0o111 != 0 {
		mode = 0o755
	}
	return w.add(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: info.Size()}, file)
}

func directory(name string, mode int64, owner int) *tar.Header {
	return &tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: mode, Uid: owner, Gid: owner}
}

func symlink(name, target string) *tar.Header {
	return &tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target, Mode: 0o777}
}

func (w *layerWriter) addText(name string, mode int64, text string) error {
	return w.add(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: int64(len(text))}, strings.NewReader(text))
}
