package image

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// containerdName is the annotation from which containerd takes a reference
// (github.com/containerd/containerd/v2/core/images).
const containerdName = "io.containerd.image.name"

// ociName is the same for other tools (OCI image specification, annotations).
const ociName = "org.opencontainers.image.ref.name"

// assemble puts layers and configuration together.
func assemble(config v1.Config, layers ...layer) (v1.Image, error) {
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	image, err := mutate.ConfigFile(image, &v1.ConfigFile{
		Architecture: runtime.GOARCH,
		OS:           "linux",
		Created:      v1.Time{Time: epoch},
		Config:       config,
		RootFS:       v1.RootFS{Type: "layers"},
	})
	if err != nil {
		return nil, fmt.Errorf("configuring an image: %w", err)
	}
	for _, l := range layers {
		if image, err = mutate.AppendLayers(image, l); err != nil {
			return nil, fmt.Errorf("adding a layer to an image: %w", err)
		}
	}
	return image, nil
}

// write makes the archive: an OCI image layout (OCI image specification, image
// layout) in one tar file, the index first so that Read need not look further,
// and Docker's manifest.json beside it.
func write(target, reference string, image v1.Image) (err error) {
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return fmt.Errorf("writing %s: %w", target, err)
	}
	file, err := os.CreateTemp(filepath.Dir(target), ".image-*")
	if err != nil {
		return fmt.Errorf("writing %s: %w", target, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, file.Close(), os.Remove(file.Name()))
		}
	}()
	archive := tar.NewWriter(file)
	if err := writeLayout(archive, reference, image); err != nil {
		return fmt.Errorf("writing %s: %w", target, err)
	}
	if err := archive.Close(); err != nil {
		return fmt.Errorf("writing %s: %w", target, err)
	}
	if err := file.Chmod(0o644); err != nil {
		return fmt.Errorf("writing %s: %w", target, err)
	}
	if err := file.Close(); err != nil {
		return fmt.Errorf("writing %s: %w", target, err)
	}
	if err := os.Rename(file.Name(), target); err != nil {
		return fmt.Errorf("writing %s: %w", target, err)
	}
	return nil
}

func writeLayout(archive *tar.Writer, reference string, image v1.Image) error {
	manifest, err := image.RawManifest()
	if err != nil {
		return err
	}
	digest, err := image.Digest()
	if err != nil {
		return err
	}
	config, err := image.RawConfigFile()
	if err != nil {
		return err
	}
	configDigest, err := image.ConfigName()
	if err != nil {
		return err
	}
	index, err := json.Marshal(v1.IndexManifest{
		SchemaVersion: 2,
		MediaType:     types.OCIImageIndex,
		Manifests: []v1.Descriptor{{
			MediaType:   types.OCIManifestSchema1,
			Size:        int64(len(manifest)),
			Digest:      digest,
			Platform:    &v1.Platform{OS: "linux", Architecture: runtime.GOARCH},
			Annotations: map[string]string{containerdName: reference, ociName: reference},
		}},
	})
	if err != nil {
		return err
	}
	layers, err := image.Layers()
	if err != nil {
		return err
	}
	docker := struct {
		Config   string
		RepoTags []string
		Layers   []string
	}{Config: blob(configDigest), RepoTags: []string{reference}}
	for _, l := range layers {
		h, err := l.Digest()
		if err != nil {
			return err
		}
		docker.Layers = append(docker.Layers, blob(h))
	}
	dockerManifest, err := json.Marshal([]any{docker})
	if err != nil {
		return err
	}
	for _, f := range []struct {
		name string
		data []byte
	}{
		{"index.json", index},
		{"oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`)},
		{"manifest.json", dockerManifest},
		{blob(digest), manifest},
		{blob(configDigest), config},
	} {
		if err := writeEntry(archive, f.name, int64(len(f.data)), bytes.NewReader(f.data)); err != nil {
			return err
		}
	}
	written := map[v1.Hash]bool{}
	for _, l := range layers {
		if err := writeLayer(archive, l, written); err != nil {
			return err
		}
	}
	return nil
}

func writeLayer(archive *tar.Writer, l v1.Layer, written map[v1.Hash]bool) error {
	h, err := l.Digest()
	if err != nil || written[h] {
		return err
	}
	written[h] = true
	size, err := l.Size()
	if err != nil {
		return err
	}
	content, err := l.Compressed()
	if err != nil {
		return err
	}
	defer content.Close()
	return writeEntry(archive, blob(h), size, content)
}

func writeEntry(archive *tar.Writer, name string, size int64, content io.Reader) error {
	header := &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: size, ModTime: epoch}
	if err := archive.WriteHeader(header); err != nil {
		return err
	}
	_, err := io.Copy(archive, content)
	return err
}

func blob(h v1.Hash) string { return "blobs/" + h.Algorithm + "/" + h.Hex }

// Archive is what an archive says of itself.
type Archive struct {
	// Reference is the image's name and tag.
	Reference string
	// Digest is that of its manifest.
	Digest string
}

// Read looks into an archive made by this package.
func Read(path string) (Archive, error) {
	file, err := os.Open(path)
	if err != nil {
		return Archive{}, fmt.Errorf("reading an image: %w", err)
	}
	defer file.Close()
	r := tar.NewReader(file)
	header, err := r.Next()
	if err != nil {
		return Archive{}, fmt.Errorf("%s is no image archive: %w", path, err)
	}
	if header.Name != "index.json" {
		return Archive{}, fmt.Errorf("%s is no image archive made here: it starts with %s, not with index.json", path, header.Name)
	}
	var index v1.IndexManifest
	if err := json.NewDecoder(r).Decode(&index); err != nil {
		return Archive{}, fmt.Errorf("reading %s: %w", path, err)
	}
	if len(index.Manifests) != 1 {
		return Archive{}, fmt.Errorf("%s holds %d images, not one", path, len(index.Manifests))
	}
	m := index.Manifests[0]
	return Archive{Reference: m.Annotations[containerdName], Digest: m.Digest.String()}, nil
}
