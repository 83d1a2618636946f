package dns

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

const (
	// The addresses of a policy's host are kept for their TTL within these bounds: long enough not to ask for every
	// connection, short enough that a failover is followed.
	minCache = time.Second
	maxCache = 30 * time.Second
	// maxCached bounds the cache; only hosts of policies and the broker are looked up.
	maxCached = 512
)

// ErrNoHost says that the nameservers know no address for a name.
var ErrNoHost = errors.New("no such host")

type cache struct {
	mu      sync.Mutex // guards entries
	entries map[string]*entry
}

// entry is one host's answer, or its being asked for: done is closed when the rest is set.
type entry struct {
	done      chan struct{}
	addresses []netip.Addr
	err       error
	until     time.Time
}

// Lookup gives the addresses of a host as a policy or the broker's address names it: an IP address is itself; a
// short name is completed by the noted search list; /etc/hosts and /etc/resolv.conf, which agents may write, are
// never read. It returns an error that wraps ErrNoHost where the nameservers say that there is none.
func (c *Client) Lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a.Unmap()}, nil
	}
	e, mine := c.cache.claim(host, time.Now())
	if mine {
		// The lookup outlives its first caller: others wait for it.
		go func() {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*queryTimeout)
			defer cancel()
			var ttl time.Duration
			e.addresses, ttl, e.err = c.resolve(ctx, host)
			if e.err != nil {
				ttl = minCache
			}
			e.until = time.Now().Add(min(max(ttl, minCache), maxCache))
			close(e.done)
		}()
	}
	select {
	case <-e.done:
		return e.addresses, e.err
	case <-ctx.Done():
		return nil, fmt.Errorf("resolving %s: %w", host, ctx.Err())
	}
}

func (c *cache) claim(host string, now time.Time) (*entry, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.entries[host]; e != nil {
		select {
		case <-e.done:
			if now.Before(e.until) {
				return e, false
			}
		default:
			return e, false
		}
	}
	for other := range c.entries {
		if len(c.entries) < maxCached {
			break
		}
		delete(c.entries, other)
	}
	e := &entry{done: make(chan struct{})}
	c.entries[host] = e
	return e, true
}

// resolve tries the names that the host may stand for. A name whose answer could not be had ends it: the next name
// is another host.
func (c *Client) resolve(ctx context.Context, host string) ([]netip.Addr, time.Duration, error) {
	for _, name := range c.settings.Expand(host) {
		addresses, ttl, err := c.addresses(ctx, name)
		if err != nil {
			return nil, 0, fmt.Errorf("resolving %s: %w", host, err)
		}
		if len(addresses) > 0 {
			return addresses, ttl, nil
		}
	}
	return nil, 0, fmt.Errorf("resolving %s: %w", host, ErrNoHost)
}

// addresses asks for A and AAAA at once. One that fails is overlooked where the other has addresses.
func (c *Client) addresses(ctx context.Context, name string) ([]netip.Addr, time.Duration, error) {
	wire, err := dnsmessage.NewName(name + ".")
	if err != nil {
		return nil, 0, fmt.Errorf("%q is no name: %w", name, err)
	}
	type result struct {
		answer answer
		err    error
	}
	types := [...]dnsmessage.Type{dnsmessage.TypeA, dnsmessage.TypeAAAA}
	var results [len(types)]result
	var wait sync.WaitGroup
	for i, t := range types {
		wait.Go(func() {
			results[i].answer, results[i].err = c.full(ctx, &query{
				question: dnsmessage.Question{Name: wire, Type: t, Class: dnsmessage.ClassINET},
				name:     name, recursionDesired: true, edns: true, size: maxUDP,
			})
		})
	}
	wait.Wait()
	var out []netip.Addr
	var ttl time.Duration
	for _, r := range results {
		if r.err != nil {
			err = r.err
			continue
		}
		if len(r.answer.addresses) > 0 && (len(out) == 0 || r.answer.ttl < ttl) {
			ttl = r.answer.ttl
		}
		out = append(out, r.answer.addresses...)
	}
	if len(out) > 0 {
		return out, ttl, nil
	}
	return nil, 0, err
}

// full asks over UDP and, when the answer does not fit, over TCP.
func (c *Client) full(ctx context.Context, q *query) (answer, error) {
	a, _, err := c.exchange(ctx, q, "udp")
	if err == nil && a.truncated {
		a, _, err = c.exchange(ctx, q, "tcp")
	}
	switch {
	case err != nil:
		return answer{}, err
	case a.code == dnsmessage.RCodeSuccess, a.code == dnsmessage.RCodeNameError:
		return a, nil
	}
	return answer{}, fmt.Errorf("the nameservers answered %s for %s", a.code, q.name)
}
