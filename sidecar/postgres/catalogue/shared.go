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
	asked    time.Time // when somebody was last told to read it before it is too old
	epoch    uint64
	changing int
}

// NewShared returns an unknown catalogue, which will be read again when it is older than maxAge: changes that
// do not pass through this pod are seen no later.
func NewShared(now func() time.Time, maxAge time.Duration) *Shared {
	return &Shared{now: now, maxAge: maxAge}
}

// Current returns the catalogue, nil where it is not known, and the epoch it is of.
func (s *Shared) Current() (c *Catalogue, epoch uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.changing > 0 || s.current == nil || s.now().Sub(s.read) > s.maxAge {
		return nil, s.epoch
	}
	return s.current, s.epoch
}

// Outdated tells whether the caller should read the catalogue, and of which epoch that will be: where it is not known, and
// not while it is being changed. In the last fifth of its age one caller is told so each tenth, while the others use it
// on: else all sessions would read it in the same moment.
func (s *Shared) Outdated() (epoch uint64, outdated bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.changing > 0 {
		return s.epoch, false
	}
	now, tenth := s.now(), s.maxAge/10
	age := now.Sub(s.read)
	switch {
	case s.current == nil || age > s.maxAge:
		return s.epoch, true
	case age < 8*tenth || now.Sub(s.asked) < tenth:
		return s.epoch, false
	}
	s.asked = now
	return s.epoch, true
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
