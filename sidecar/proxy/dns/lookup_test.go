package dns

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/chaperone-dev/chaperone/sidecar/redirect/resolver"
)

func many(n int) []string {
	var out []string
	for i := range n {
		out = append(out, fmt.Sprintf("A 198.51.%d.%d", i/250, i%250+1))
	}
	return out
}

func TestLookup(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		server *nameserver
		host   string
		want   []netip.Addr
		err    string
	}{
		"a name with both families": {
			&nameserver{Zone: zone{"db.example": {"A 192.0.2.1", "AAAA 2001:db8::1"}}}, "DB.example.",
			addresses("192.0.2.1", "2001:db8::1"), "",
		},
		"a short name is completed by the search list": {
			&nameserver{Zone: zone{"billing-db.prod.svc.cluster.local": {"A 10.96.1.2"}}}, "billing-db",
			addresses("10.96.1.2"), "",
		},
		"a short name with a namespace": {
			&nameserver{Zone: zone{"billing-db.prod.svc.cluster.local": {"A 10.96.1.2"}}}, "billing-db.prod",
			addresses("10.96.1.2"), "",
		},
		"a name with a final dot is only itself": {
			&nameserver{Zone: zone{"billing-db.prod.svc.cluster.local": {"A 10.96.1.2"}}}, "billing-db.", nil, "no such host",
		},
		"aliases are followed": {
			&nameserver{Zone: zone{"db.example": {"CNAME a.example", "a.example CNAME b.example", "b.example A 192.0.2.9"}}}, "db.example.",
			addresses("192.0.2.9"), "",
		},
		"aliases in a circle end": {
			&nameserver{Zone: zone{"db.example": {"CNAME a.example", "a.example CNAME db.example"}}}, "db.example.", nil, "no such host",
		},
		"records of other names are not believed": {
			&nameserver{Zone: zone{"db.example": {"A 192.0.2.1", "bank.example A 192.0.2.66"}}}, "db.example.",
			addresses("192.0.2.1"), "",
		},
		"an answer that does not fit comes over TCP": {
			&nameserver{Zone: zone{"db.example": many(100)}, Plain: 512}, "db.example.", nil, "",
		},
		"forged answers are passed over": {
			&nameserver{Zone: zone{"db.example": {"A 192.0.2.1"}}, Forge: true}, "db.example.", addresses("192.0.2.1"), "",
		},
		"a nameserver in trouble is not taken for a missing name": {
			&nameserver{Code: dnsmessage.RCodeServerFailure}, "billing-db", nil, "RCodeServerFailure for billing-db.prod.svc.cluster.local",
		},
		"an address is itself": {&nameserver{}, "::ffff:192.0.2.7", addresses("192.0.2.7"), ""},
		"a name that is none":  {&nameserver{}, strings.Repeat("a", 300) + ".", nil, "no name"},
		"nothing":              {&nameserver{}, "", nil, "no such host"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := client(t, c.server).Lookup(within(t, 20*time.Second), c.host)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) || errors.Is(err, ErrNoHost) != (c.err == "no such host") {
					t.Errorf("got %v, %v", got, err)
				}
				return
			}
			if c.want == nil {
				c.want = addresses()
				for _, line := range many(100) {
					c.want = append(c.want, netip.MustParseAddr(line[2:]))
				}
			}
			if err != nil || !slices.Equal(got, c.want) {
				t.Errorf("got %v, %v", got, err)
			}
		})
	}
}

// The next name of the search list is another host, under somebody else's control.
func TestLookupDoesNotGoOnFromANameItCouldNotAskFor(t *testing.T) {
	t.Parallel()
	n := &nameserver{Silent: true}
	_, err := client(t, n).Lookup(within(t, time.Minute), "billing-db")
	if err == nil || errors.Is(err, ErrNoHost) {
		t.Fatalf("got %v", err)
	}
	for _, q := range n.Queries() {
		if !strings.HasSuffix(q, " billing-db.prod.svc.cluster.local") {
			t.Errorf("asked %s", q)
		}
	}
}

func TestTheNextNameserverIsAskedWhenOneFails(t *testing.T) {
	t.Parallel()
	for name, first := range map[string]*nameserver{
		"it is silent":  {Silent: true},
		"it refuses":    {Code: dnsmessage.RCodeRefused},
		"it has failed": {Code: dnsmessage.RCodeServerFailure},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			second := &nameserver{Zone: zone{"db.example": {"A 192.0.2.1"}}}
			port := first.Start(t, "127.0.0.1", 0)
			second.Start(t, "127.0.0.2", port)
			c := newClient(resolver.Settings{Nameservers: addresses("127.0.0.1", "127.0.0.2"), Ndots: 1}, port)
			got, err := c.Lookup(within(t, 10*time.Second), "db.example")
			if err != nil || !slices.Equal(got, addresses("192.0.2.1")) {
				t.Errorf("got %v, %v", got, err)
			}
		})
	}
}

func TestCallersOfOneNameShareOneLookup(t *testing.T) {
	t.Parallel()
	n := &nameserver{Zone: zone{"db.example": {"A 192.0.2.1"}}}
	c := client(t, n)
	var wait sync.WaitGroup
	for range 50 {
		wait.Go(func() {
			if _, err := c.Lookup(within(t, 5*time.Second), "db.example."); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	if q := n.Queries(); len(q) != 2 {
		t.Errorf("%d queries: %v", len(q), q)
	}
}

func TestTheCacheIsBounded(t *testing.T) {
	t.Parallel()
	c := cache{entries: map[string]*entry{}}
	for i := range 3 * maxCached {
		c.claim(fmt.Sprint(i), time.Now())
	}
	if len(c.entries) > maxCached {
		t.Errorf("%d entries", len(c.entries))
	}
}
