package sftp

import (
	"sync"
	"sync/atomic"
)

// handle is an open file or folder.
type handle struct {
	name    string // the server's
	number  uint64 // under which its opening was recorded
	stands  func() error
	path    string
	asked   string // the path in the agent's own words
	folder  bool
	reads   bool
	writes  bool
	appends bool
	// queued counts requests for it that wait their turn; what comes meanwhile waits behind them.
	queued atomic.Int64

	mu            sync.Mutex // guards what follows
	read, written meter
	failed        string // why not all was done that was asked
}

func (h *handle) result() Result {
	h.mu.Lock()
	defer h.mu.Unlock()
	return Result{Read: h.read.transfer(), Written: h.written.transfer(), Error: h.failed, Opened: true}
}

// denied is the refusal of what is to be done with an open file, where that is no longer allowed.
func (h *handle) denied() *refusal {
	if h.stands == nil {
		return nil
	}
	err := h.stands()
	if err == nil {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.failed == "" {
		h.failed = err.Error()
	}
	return &refusal{statusPermissionDenied, err.Error()}
}

// maxHandles bounds the open files of one session; OpenSSH's clients have two.
const maxHandles = 128

// handles are a session's.
type handles struct {
	mu     sync.Mutex // guards all
	byName map[string]*handle
}

func (t *handles) get(name []byte) *handle {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.byName[string(name)]
}

// add reports whether there was room, and nothing of that name.
func (t *handles) add(h *handle) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.byName) >= maxHandles || t.byName[h.name] != nil {
		return false
	}
	t.byName[h.name] = h
	return true
}

func (t *handles) full() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.byName) >= maxHandles
}

func (t *handles) remove(h *handle) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.byName, h.name)
}

// drain returns those that nobody closed.
func (t *handles) drain() []*handle {
	t.mu.Lock()
	defer t.mu.Unlock()
	var out []*handle
	for _, h := range t.byName {
		out = append(out, h)
	}
	t.byName = map[string]*handle{}
	return out
}
