package naming

import (
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"
)

func TestTarget(t *testing.T) {
	for name, c := range map[string]struct {
		in   string
		want bool
	}{
		"a name":                         {"billing", true},
		"several":                        {"billing+billing-2", true},
		"one that climbs":                {"../billing", false},
		"one that ends in a dash":        {"billing-", false},
		"several that meet in a dash":    {"billing-+x", false},
		"several with nothing between":   {"a++b", false},
		"nothing":                        {"", false},
		"more than fits in a name":       {strings.Repeat("a", 254), false},
		"a line end behind what matches": {"billing\n", false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Target(c.in); got != c.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

// Names are made of what a sidecar sends, so that each must be one whatever it is.
func FuzzNames(f *testing.F) {
	f.Add("agent-7d9f", "billing+other", "00112233445566778899aabbccddeeff", int64(1))
	f.Add("a.b.c", "a", "ffffffffffffffffffffffffffffffff", int64(-62135596800000))
	f.Fuzz(func(t *testing.T, pod, target, log string, ms int64) {
		if len(validation.IsDNS1123Subdomain(pod)) > 0 || !Target(target) || len(log) != 32 {
			return
		}
		start := time.UnixMilli(ms % 253402300799000).UTC()
		if start.Year() < 1970 {
			return
		}
		for _, c := range log {
			if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
				return
			}
		}
		for _, name := range []string{Recording(pod, target, start, log), Request(pod, log, 3)} {
			if problems := validation.IsDNS1123Subdomain(name); len(problems) > 0 {
				t.Errorf("%q: %v", name, problems)
			}
		}
		if problems := validation.IsValidLabelValue(Label(target)); len(problems) > 0 {
			t.Errorf("label %q: %v", Label(target), problems)
		}
	})
}
