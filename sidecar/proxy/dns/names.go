package dns

import (
	"container/list"
	"net/netip"
	"sync"
	"time"
)

const (
	// maxAssociations bounds how many pairs of a name and an address are remembered, some 200 bytes each. An agent
	// that floods it loses only what it asked for itself: targets are then found by resolving their hosts.
	maxAssociations = 4096
	// Clients hold on to addresses longer than their TTL: the JVM for ever by default, connection pools until a
	// connection breaks. minMemory is how long an association counts at least, maxMemory at most.
	minMemory = time.Hour
	maxMemory = 24 * time.Hour
)

type association struct {
	address netip.Addr
	name    string
	until   time.Time
}

// Names remembers which names gave which addresses. It is safe for concurrent use.
type Names struct {
	now func() time.Time

	mu        sync.Mutex // guards what follows
	recent    list.List  // of association, the latest first
	byAddress map[netip.Addr]map[string]*list.Element
}

// NewNames gives an empty memory that reads the time from now.
func NewNames(now func() time.Time) *Names {
	return &Names{now: now, byAddress: make(map[netip.Addr]map[string]*list.Element)}
}

// Remember keeps that the name, in canonical form, gave the addresses.
func (n *Names) Remember(name string, addresses []netip.Addr, ttl time.Duration) {
	until := n.now().Add(min(max(ttl, minMemory), maxMemory))
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, a := range addresses {
		a = a.Unmap()
		if e := n.byAddress[a][name]; e != nil {
			e.Value = association{a, name, until}
			n.recent.MoveToFront(e)
			continue
		}
		for n.recent.Len() >= maxAssociations {
			n.forget(n.recent.Back())
		}
		names := n.byAddress[a]
		if names == nil {
			names = make(map[string]*list.Element, 1)
			n.byAddress[a] = names
		}
		names[name] = n.recent.PushFront(association{a, name, until})
	}
}

// Of lists the names that gave the address and still count, in no order.
func (n *Names) Of(a netip.Addr) []string {
	now := n.now()
	n.mu.Lock()
	defer n.mu.Unlock()
	var out []string
	for name, e := range n.byAddress[a.Unmap()] {
		if e.Value.(association).until.After(now) {
			out = append(out, name)
		} else {
			n.forget(e)
		}
	}
	return out
}

func (n *Names) forget(e *list.Element) {
	old := n.recent.Remove(e).(association)
	names := n.byAddress[old.address]
	delete(names, old.name)
	if len(names) == 0 {
		delete(n.byAddress, old.address)
	}
}
