package control

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/chaperone-dev/chaperone/sidecar/layout"
	"github.com/chaperone-dev/chaperone/sidecar/policy"
)

// ErrNoPolicy is why nothing is allowed: no policy has been received, or the last one is too old.
var ErrNoPolicy = errors.New("no policy is in force")

// Policies is the pod's set of policies: the one in force, kept in a file over the sidecar's restart. It is safe
// for concurrent use.
type Policies struct {
	file  string
	clock func() time.Time

	inForceMu sync.RWMutex // guards inForce, contact and overtaken
	inForce   *policy.Compiled
	contact   time.Time // when the operator last confirmed the set
	overtaken bool      // the operator means another set, which could not be put in force

	firstOnce sync.Once
	first     chan struct{}
	changed   chan struct{}
}

// LoadPolicies takes up the set that an earlier life of this sidecar left in dir. A file that cannot be read or
// understood is an error; none at all is not.
func LoadPolicies(dir string, clock func() time.Time) (*Policies, error) {
	p := &Policies{file: filepath.Join(dir, layout.PolicyFile), clock: clock, first: make(chan struct{}), changed: make(chan struct{}, 1)}
	info, err := os.Stat(p.file)
	if errors.Is(err, fs.ErrNotExist) {
		return p, nil
	}
	if err != nil {
		return p, fmt.Errorf("the last policies: %w", err)
	}
	content, err := os.ReadFile(p.file)
	if err != nil {
		return p, fmt.Errorf("the last policies: %w", err)
	}
	compiled, err := decode(content)
	if err != nil {
		return p, fmt.Errorf("the last policies: %w", err)
	}
	p.inForce, p.contact = compiled, info.ModTime()
	p.firstOnce.Do(func() { close(p.first) })
	return p, nil
}

// Current returns the rules in force. An error, which wraps ErrNoPolicy, means that nothing is allowed.
func (p *Policies) Current() (*policy.Compiled, error) {
	p.inForceMu.RLock()
	defer p.inForceMu.RUnlock()
	if p.inForce == nil {
		return nil, fmt.Errorf("%w: the operator has not been reached yet", ErrNoPolicy)
	}
	if limit := time.Duration(p.inForce.Set().MaxAgeSeconds) * time.Second; limit > 0 {
		if age := p.clock().Sub(p.contact); age > limit {
			return nil, fmt.Errorf("%w: the operator was last reached %s ago, more than the %s that policies may be used without it",
				ErrNoPolicy, age.Round(time.Second), limit)
		}
	}
	return p.inForce, nil
}

// Received is closed once there is a set.
func (p *Policies) Received() <-chan struct{} { return p.first }

// Changed delivers after a set was put in force. Several changes may be one notice; there is one reader.
func (p *Policies) Changed() <-chan struct{} { return p.changed }

// held is the version in force.
func (p *Policies) held() string {
	p.inForceMu.RLock()
	defer p.inForceMu.RUnlock()
	if p.inForce == nil {
		return ""
	}
	return p.inForce.Set().Version
}

// put brings a set in force. What cannot be understood changes nothing: the last set stays, and grows old.
func (p *Policies) put(content []byte) error {
	compiled, err := decode(content)
	if err == nil {
		err = p.save(content)
	}
	if err != nil {
		p.inForceMu.Lock()
		p.overtaken = true
		p.inForceMu.Unlock()
		return err
	}
	p.inForceMu.Lock()
	p.inForce, p.contact, p.overtaken = compiled, p.clock(), false
	p.inForceMu.Unlock()
	p.firstOnce.Do(func() { close(p.first) })
	select {
	case p.changed <- struct{}{}:
	default:
	}
	return nil
}

// confirm notes that the operator still means the set that is in force.
func (p *Policies) confirm() error {
	now := p.clock()
	p.inForceMu.Lock()
	meant := p.inForce != nil && !p.overtaken
	if meant {
		p.contact = now
	}
	p.inForceMu.Unlock()
	if !meant {
		return nil
	}
	return os.Chtimes(p.file, now, now)
}

// save replaces the file in one step, so that no restart meets half a set.
func (p *Policies) save(content []byte) error {
	fresh := p.file + ".new"
	if err := os.WriteFile(fresh, content, 0o600); err != nil {
		return fmt.Errorf("keeping the policies over a restart: %w", err)
	}
	if err := os.Rename(fresh, p.file); err != nil {
		return fmt.Errorf("keeping the policies over a restart: %w", err)
	}
	return nil
}

// decode reads a set. A field that this sidecar does not know may be a restriction, so that a set which has one is
// refused rather than read without it.
func decode(content []byte) (*policy.Compiled, error) {
	decoder := json.NewDecoder(bytes.NewReader(content))
	decoder.DisallowUnknownFields()
	var set policy.Set
	if err := decoder.Decode(&set); err != nil {
		return nil, fmt.Errorf("reading the set of policies: %w", err)
	}
	return policy.Compile(set)
}
