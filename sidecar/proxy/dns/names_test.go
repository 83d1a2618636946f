package dns

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"
)

func TestNames(t *testing.T) {
	now := time.Unix(1e9, 0)
	n := NewNames(func() time.Time { return now })
	shared := netip.MustParseAddr("192.0.2.1")
	n.Remember("a.example", []netip.Addr{shared, netip.MustParseAddr("::ffff:192.0.2.2")}, time.Minute)
	n.Remember("b.example", []netip.Addr{shared}, 30*time.Hour)
	of := func(a netip.Addr) []string {
		got := n.Of(a)
		slices.Sort(got)
		return got
	}
	if got := of(shared); !slices.Equal(got, []string{"a.example", "b.example"}) {
		t.Errorf("two names share the address: %q", got)
	}
	if got := of(netip.MustParseAddr("192.0.2.2")); !slices.Equal(got, []string{"a.example"}) {
		t.Errorf("an IPv4-mapped address is the IPv4 address: %q", got)
	}
	now = now.Add(minMemory - time.Second)
	if got := of(shared); len(got) != 2 {
		t.Errorf("a short TTL counts for %s: %q", minMemory, got)
	}
	now = now.Add(time.Second)
	if got := of(shared); !slices.Equal(got, []string{"b.example"}) {
		t.Errorf("after that: %q", got)
	}
	now = now.Add(maxMemory)
	if got := of(shared); len(got) != 0 {
		t.Errorf("after the longest memory: %q", got)
	}
	if len(n.byAddress) != 1 {
		t.Errorf("what does not count is forgotten: %v", n.byAddress)
	}
}

func TestNamesAreBoundedAndTheLatestStay(t *testing.T) {
	n := NewNames(time.Now)
	a := netip.MustParseAddr("192.0.2.1")
	n.Remember("kept.example", []netip.Addr{a}, 0)
	for i := range 3 * maxAssociations {
		n.Remember(fmt.Sprintf("%d.flood.example", i), []netip.Addr{netip.MustParseAddr("192.0.2.2")}, 0)
		if i%1000 == 0 {
			n.Remember("kept.example", []netip.Addr{a}, 0)
		}
	}
	if n.recent.Len() != maxAssociations {
		t.Errorf("%d associations", n.recent.Len())
	}
	if got := n.Of(a); !slices.Equal(got, []string{"kept.example"}) {
		t.Errorf("a name in use was forgotten: %q", got)
	}
}
