package catalogue

import (
	"sync"
	"time"
)

// Shared is the catalogue of one database as all sessions of the pod see it. While any of them changes it,
// and until somebody has read it again, it is not known, so that nothing is proved clear by what was true before.
type Shared struct {
	now    func() time.Time
	maxAge time.Duration

	mu       sync.Mutex // guards what follows
	current  *Catalogue
	last     *Catalogue // as it was last read, whatever has changed since
	routines *Catalogue // the code alone of that
	read     time.Time
	epoch    uint64
	changing int
}

// NewShared returns an unknown catalogue, which will be read again when it is older than maxAge: changes that
// do not pass through this pod are seen no later.
func NewShared(now func() time.Time, maxAge time.Duration) *Shared {
	return &Shared{now: now, maxAge: maxAge}
}

// Current returns the catalogue, nil where it is not known, and the epoch it is of. unknown says that reading
// it would help: it would not while it is being changed.
func (s *Shared) Current() (c *Catalogue, epoch uint64, unknown bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.changing > 0 {
		return nil, s.epoch, false
	}
	if s.current == nil || s.now().Sub(s.read) > s.maxAge {
		return nil, s.epoch, true
	}
	return s.current, s.epoch, false
}

// Epoch changes with every change.
func (s *Shared) Epoch() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.epoch
}

// Set keeps what was read, unless a change began or ended since the reading began at epoch.
func (s *Shared) Set(c *Catalogue, epoch uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.epoch == epoch && s.changing == 0 {
		s.current, s.last, s.read, s.routines = c, c, s.now(), c.Routines()
	}
}

// Begin says that a statement which may change the catalogue is about to be forwarded; End that its transaction
// has ended.
func (s *Shared) Begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changing++
	s.epoch++
	s.current = nil
}

// End ends what Begin began.
func (s *Shared) End() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changing--
	s.epoch++
}

// Routines is what was last read of the database's code, which holds while relations change: whoever could make code is
// refused that where columns are masked. Nil before the first time.
func (s *Shared) Routines() *Catalogue {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.routines
}

// Last is the catalogue as it was last read, which may have changed since. Nil before the first time.
func (s *Shared) Last() *Catalogue {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last
}
