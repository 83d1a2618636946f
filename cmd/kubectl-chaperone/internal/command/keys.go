package command

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
)

const keyUsage = "file with the operator's public key (PEM, Ed25519), which the signature must then be made with; " +
	"without it, the key is the one that comes with the log through the API server"

// trustedKeys reads the public keys of a file; none where no file is named.
func trustedKeys(file string) (keys []ed25519.PublicKey, err error) {
	if file == "" {
		return nil, nil
	}
	rest, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading the operator's public key: %w", err)
	}
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("reading the operator's public key from %s: %w", file, err)
		}
		key, ok := parsed.(ed25519.PublicKey)
		if !ok {
			return nil, fmt.Errorf("reading the operator's public key from %s: %T is not an Ed25519 key", file, parsed)
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, errors.New("no public key in " + file)
	}
	return keys, nil
}
