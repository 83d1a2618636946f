package trust

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// secretSize is in bytes: as strong as SHA-256, which the secrets key.
const secretSize = 32

// LoadSecret reads a key of the pod's own from the state directory, or makes it there, so that what it keys stays
// comparable over a restart of the sidecar. The name is one file's.
func LoadSecret(state, name string) ([]byte, error) {
	file := filepath.Join(state, name)
	content, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		content = make([]byte, secretSize)
		rand.Read(content)
		err = keep(file, content)
	}
	if err != nil {
		return nil, fmt.Errorf("keeping the pod's secret %s: %w", name, err)
	}
	if len(content) != secretSize {
		return nil, fmt.Errorf("the pod's secret in %s has %d bytes, not %d", file, len(content), secretSize)
	}
	return content, nil
}
