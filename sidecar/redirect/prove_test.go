package redirect

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-dev/chaperone/sidecar/redirect/netlab"
)

func TestProveHoldsWithTheRules(t *testing.T) {
	lab := pod(t)
	mustProve(t)
	nothingLeft(t, lab)
}

// Each case takes a rule away or adds one, as a kernel or another injector might, and expects to be told.
func TestProveSaysWhatIsWrong(t *testing.T) {
	without := func(text string) func(*Table) {
		return func(t *Table) {
			for i := range t.Chains {
				t.Chains[i].Rules = slices.DeleteFunc(t.Chains[i].Rules, func(r Rule) bool { return strings.Contains(r.String(), text) })
			}
		}
	}
	for name, c := range map[string]struct {
		change func(*Table)
		want   string
	}{
		"no table at all":                    {func(t *Table) { t.Chains = nil }, "was not redirected"},
		"TCP not redirected":                 {without("redirect to :15001"), "was not redirected"},
		"redirected connections not let out": {without("ct status dnat"), "was not redirected"},
		"IPv6 not let out":                   {without("ip6 daddr ::1"), "IPv6: a TCP connection"},
		"DNS not redirected":                 {without("redirect to :15053"), "DNS"},
		"UDP let out": {func(t *Table) {
			t.Chains[1].Policy = "accept"
			t.Chains[1].Rules = t.Chains[1].Rules[:len(t.Chains[1].Rules)-1]
		}, "a UDP datagram to 192.0.2.1 port 9 left the pod"},
		"root exempt": {func(t *Table) { t.Chains[0].Rules[0].Match = []Match{Owner(0)} }, "was not redirected"},
	} {
		t.Run(name, func(t *testing.T) {
			netlab.New(t)
			table, err := New(Config{UID: sidecarUID})
			if err != nil {
				t.Fatal(err)
			}
			c.change(&table)
			if err := Apply(table); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(context.Background(), silence)
			defer cancel()
			if _, err := Prove(ctx); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("Prove: %v, want %q", err, c.want)
			}
		})
	}
}

func TestProveNeedsAFamilyToProve(t *testing.T) {
	if err := Apply(Table{Name: TableName}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if _, err := Prove(ctx); err == nil || !strings.Contains(err.Error(), "no route out") {
		t.Errorf("Prove in a namespace without any link: %v", err)
	}
}
