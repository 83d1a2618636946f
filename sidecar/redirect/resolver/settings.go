// Package resolver keeps the pod's resolver settings as they were before any agent code ran: all containers of a
// pod share one resolv.conf, and an agent that runs as root can write it.
package resolver

import (
	"bufio"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Settings are what resolv.conf(5) says of nameservers and of completing short names.
type Settings struct {
	Nameservers []netip.Addr
	// Search holds domains in lower case without the final dot.
	Search []string
	// Ndots is how many dots a name needs to be tried as it stands before the search list. Default 1.
	Ndots int
}

// Bounds. glibc reads 3 nameservers; Kubernetes allows 3 nameservers, 32 search domains of 2048 characters in all
// (core/v1 validation, KEP-2595).
const (
	maxNameservers = 3
	maxSearch      = 32
	maxNdots       = 15
	maxLine        = 4096
	maxFile        = 64 << 10
)

// Parse reads a resolv.conf. Unknown keywords and options are passed over, as resolvers do; the last search line
// counts; a nameserver that is no IP address is an error, because leaving it out would change who is asked.
func Parse(r io.Reader) (Settings, error) {
	s := Settings{Ndots: 1}
	lines := bufio.NewScanner(io.LimitReader(r, maxFile))
	lines.Buffer(make([]byte, 0, maxLine), maxLine)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 2 || strings.HasPrefix(fields[0], "#") || strings.HasPrefix(fields[0], ";") {
			continue
		}
		switch values := fields[1:]; fields[0] {
		case "nameserver":
			a, err := netip.ParseAddr(values[0])
			if err != nil {
				return Settings{}, fmt.Errorf("nameserver %q: %w", values[0], err)
			}
			if a = a.Unmap(); len(s.Nameservers) < maxNameservers && !slices.Contains(s.Nameservers, a) {
				s.Nameservers = append(s.Nameservers, a)
			}
		case "search", "domain":
			s.Search = nil
			for _, d := range values {
				if d = Canonical(d); d != "" && len(s.Search) < maxSearch {
					s.Search = append(s.Search, d)
				}
			}
		case "options":
			for _, o := range values {
				if n, ok := strings.CutPrefix(o, "ndots:"); ok {
					if v, err := strconv.Atoi(n); err == nil && v >= 0 {
						s.Ndots = min(v, maxNdots)
					}
				}
			}
		}
	}
	if err := lines.Err(); err != nil {
		return Settings{}, err
	}
	return s, nil
}

// Canonical gives a name as names are compared here: lower case, without the final dot.
func Canonical(name string) string {
	return strings.ToLower(strings.TrimSuffix(name, "."))
}

// Expand lists the full names that a resolver with these settings would try for a name, in its order
// (resolv.conf(5), ndots), as far as Completes lets it: a name with a final dot is only itself.
func (s Settings) Expand(name string) []string {
	plain := Canonical(name)
	if plain == "" {
		return nil
	}
	if strings.HasSuffix(name, ".") {
		return []string{plain}
	}
	out := make([]string, 0, len(s.Search)+1)
	for _, d := range s.Search {
		if s.Completes(plain, d) {
			out = append(out, plain+"."+d)
		}
	}
	if strings.Count(plain, ".") >= s.Ndots {
		return slices.Insert(out, 0, plain)
	}
	return append(out, plain)
}

// Completes tells whether a policy's name may be completed by the domain of the search list. In a namespace of
// Kubernetes (<namespace>.svc.<cluster domain>) a name with a dot is a pod's, and whoever may make pods there chooses
// its hostname and its Service: partner.example must not come to mean such a pod.
func (s Settings) Completes(name, domain string) bool {
	_, services, _ := strings.Cut(domain, ".")
	return !strings.Contains(name, ".") || !strings.HasPrefix(services, "svc.") || !slices.Contains(s.Search, services)
}
