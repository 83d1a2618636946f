package session

import "sync"

// Changes tells all who wait that the rules may have changed. The zero value is ready.
type Changes struct {
	mu   sync.Mutex // guards next
	next chan struct{}
}

// Next returns a channel that is closed with the next change.
func (c *Changes) Next() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.next == nil {
		c.next = make(chan struct{})
	}
	return c.next
}

// Announce wakes all who wait.
func (c *Changes) Announce() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.next != nil {
		close(c.next)
		c.next = nil
	}
}
