package trust

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// HostKeys are what agents know SSH targets by: the host key itself, and the key that signs host certificates for
// clients that take them.
type HostKeys struct {
	Host      ed25519.PrivateKey
	Authority ed25519.PrivateKey
}

// LoadHostKeys reads the pod's SSH keys from the state directory, or makes them there.
func LoadHostKeys(state string) (*HostKeys, error) {
	file := filepath.Join(state, hostKeysFile)
	content, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		if content, err = makeHostKeys(); err != nil {
			return nil, fmt.Errorf("making the pod's SSH host keys: %w", err)
		}
		err = keep(file, content)
	}
	if err != nil {
		return nil, fmt.Errorf("keeping the pod's SSH host keys: %w", err)
	}
	var keys HostKeys
	for _, key := range []*ed25519.PrivateKey{&keys.Host, &keys.Authority} {
		if *key, content, err = parseKey(content); err != nil {
			return nil, fmt.Errorf("reading the pod's SSH host keys from %s: %w", file, err)
		}
	}
	return &keys, nil
}

func makeHostKeys() ([]byte, error) {
	var out []byte
	for range 2 {
		_, key, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return nil, err
		}
		secret, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			return nil, err
		}
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})...)
	}
	return out, nil
}

func parseKey(content []byte) (ed25519.PrivateKey, []byte, error) {
	block, rest := pem.Decode(content)
	if block == nil {
		return nil, nil, errors.New("a key is missing")
	}
	secret, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, nil, err
	}
	key, ok := secret.(ed25519.PrivateKey)
	if !ok {
		return nil, nil, fmt.Errorf("a key is a %T", secret)
	}
	return key, rest, nil
}
