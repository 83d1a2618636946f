package command

import (
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/chaperone-dev/chaperone/sidecar/record"
)

const keyUsage = "file with the operator's public keys: their set, as kubectl get --raw " + keysPath + " writes it, or PEM (Ed25519); " +
	"the signature must be made with one of them"

// keysPath is where the operator publishes its keys.
const keysPath = "/apis/logs.chaperone.dev/v1alpha1/signingkeys"

// trustedKeys reads the public keys of a file; none where no file is named.
func trustedKeys(file string) (keys []record.Key, err error) {
	if file == "" {
		return nil, nil
	}
	rest, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading the operator's public keys: %w", err)
	}
	if strings.HasPrefix(strings.TrimSpace(string(rest)), "{") {
		if keys, err = record.ParseKeys(rest); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		return keys, nil
	}
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("reading the operator's public keys from %s: %w", file, err)
		}
		key, ok := parsed.(ed25519.PublicKey)
		if !ok {
			return nil, fmt.Errorf("reading the operator's public keys from %s: %T is not an Ed25519 key", file, parsed)
		}
		keys = append(keys, record.KeyOf(key))
	}
	if len(keys) == 0 {
		return nil, errors.New("no public key in " + file)
	}
	return keys, nil
}

// publishedKeys is the set as the operator publishes it now.
func (e *environment) publishedKeys(ctx context.Context) ([]record.Key, error) {
	c, err := e.connect()
	if err != nil {
		return nil, err
	}
	return c.SigningKeys(ctx)
}
