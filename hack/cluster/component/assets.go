package component

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/chaperone-dev/chaperone/hack/cluster/folder"
)

// LinkAssets fills the folder that envtest takes its programs from.
func LinkAssets(f folder.Folder) error {
	return linkAll(f.Assets(), "etcd", "kube-apiserver", "kubectl")
}

// LinkPath fills the folder that goes in front of a user's PATH: the client
// programs, and none that would hide the host's own.
func LinkPath(f folder.Folder) error {
	return linkAll(f.Path(), "kubectl", "ctr")
}

func linkAll(dir string, names ...string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("creating %s: %w", dir, err)
	}
	for _, name := range names {
		if err := relink(filepath.Join("..", "bin", name), filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return nil
}
