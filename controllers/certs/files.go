package certs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/go-logr/logr"
)

// reloadEvery is how often the files are looked at. The kubelet swaps a mounted Secret within about a minute.
const reloadEvery = 10 * time.Second

// Files is a Source that reads tls.crt, tls.key and ca.crt of a folder, as cert-manager's Secrets mount. Replaced
// files are taken up; ones that do not fit together leave the last good ones in use.
type Files struct {
	Directory string
	Log       logr.Logger
	// Changed is called after ca.crt has changed; nil is allowed.
	Changed func()

	mu    sync.RWMutex // guards what follows
	leaf  *tls.Certificate
	roots []byte
}

var _ Source = (*Files)(nil)

// GetCertificate implements Source.
func (f *Files) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if f.leaf == nil {
		return nil, ErrNotReady
	}
	return f.leaf, nil
}

// Roots implements Source.
func (f *Files) Roots() []byte {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.roots
}

// Load reads the files.
func (f *Files) Load() error {
	leaf, err := tls.LoadX509KeyPair(filepath.Join(f.Directory, keyCertificate), filepath.Join(f.Directory, keyPrivate))
	if err != nil {
		return fmt.Errorf("reading the serving certificate in %s: %w", f.Directory, err)
	}
	roots, err := os.ReadFile(filepath.Join(f.Directory, keyBundle))
	if err != nil {
		return fmt.Errorf("reading the root: %w", err)
	}
	if !x509.NewCertPool().AppendCertsFromPEM(roots) {
		return fmt.Errorf("reading the root: %s holds no certificate", filepath.Join(f.Directory, keyBundle))
	}
	f.mu.Lock()
	changed := string(f.roots) != string(roots)
	f.leaf, f.roots = &leaf, roots
	f.mu.Unlock()
	if changed && f.Changed != nil {
		f.Changed()
	}
	return nil
}

// Start takes up replaced files until ctx ends.
func (f *Files) Start(ctx context.Context) error {
	tick := time.NewTicker(reloadEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if err := f.Load(); err != nil && !errors.Is(err, os.ErrNotExist) {
				f.Log.Error(err, "keeping the serving certificate that is in use")
			}
		}
	}
}

// NeedLeaderElection says that every replica serves.
func (f *Files) NeedLeaderElection() bool { return false }
