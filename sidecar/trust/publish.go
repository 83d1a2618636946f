package trust

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/chaperone-dev/chaperone/sidecar/layout"
)

// PlaceholderToken stands where agents look for their service account's token. Clients want a file that is not
// empty; the sidecar puts the real token in its place on the way.
const PlaceholderToken = "held-by-chaperone"

// Publish writes what agents read, each file in place: they are mounted one by one, and a mounted file that is
// renamed over is never seen. Kube is empty in a pod without a service account volume.
func Publish(trust, kube, namespace string, authority, knownHosts []byte) error {
	files := []published{
		{filepath.Join(trust, layout.CAFile), authority},
		{filepath.Join(trust, layout.KnownHostsFile), knownHosts},
	}
	if kube != "" {
		files = append(files,
			published{filepath.Join(kube, "ca.crt"), authority},
			published{filepath.Join(kube, "namespace"), []byte(namespace)},
			published{filepath.Join(kube, "token"), []byte(PlaceholderToken)},
		)
	}
	for _, f := range files {
		if err := f.write(); err != nil {
			return fmt.Errorf("publishing what agents trust: %w", err)
		}
	}
	return nil
}

type published struct {
	name    string
	content []byte
}

// write leaves a file that is right alone, and never makes one shorter before it has been written: who reads at the
// wrong moment finds a line that repeats, not a file that is empty.
func (p published) write() error {
	f, err := os.OpenFile(p.name, os.O_RDWR|os.O_CREATE, 0o644) //nolint:gosec // G302: agents read it, under any uid
	if err != nil {
		return err
	}
	defer f.Close()
	if old, err := io.ReadAll(f); err == nil && bytes.Equal(old, p.content) {
		return nil
	}
	// Whoever runs in the pod may read it, whatever the umask.
	if err := f.Chmod(0o644); err != nil {
		return err
	}
	if _, err := f.WriteAt(p.content, 0); err != nil {
		return err
	}
	if err := f.Truncate(int64(len(p.content))); err != nil {
		return err
	}
	return f.Close()
}
