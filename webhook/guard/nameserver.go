package guard

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/chaperone-dev/chaperone/sidecar/redirect/resolver"
)

// nameservers: the sidecar takes the word of the pod's nameservers for where a name of the policy leads, and tries the
// pod's search list on it. So the author of a pod may choose neither, but from those that the operator's own pod has,
// and a resolver that the node itself runs at a link-local address.
func nameservers(in Input) (reason, message string, refused bool) {
	reason = "nameserver"
	c := in.Pod.Spec.DNSConfig
	if c == nil {
		return reason, "", false
	}
	const instead = "who answers for names decides where the policy's names lead; use the cluster's DNS (dnsPolicy ClusterFirst), or another webhook's selector for what adds it"
	for _, text := range c.Nameservers {
		a, err := netip.ParseAddr(text)
		if err != nil || !a.IsLinkLocalUnicast() && !slices.Contains(in.DNS.Nameservers, a.Unmap()) {
			return reason, fmt.Sprintf("spec.dnsConfig.nameservers has %s, which is not the cluster's: %s", text, instead), true
		}
	}
	for _, domain := range c.Searches {
		if !searched(in.DNS, in.Pod.Namespace, resolver.Canonical(domain)) {
			return reason, fmt.Sprintf("spec.dnsConfig.searches has %s, which is not the cluster's: %s", domain, instead), true
		}
	}
	return reason, "", false
}

// searched tells whether a pod of the namespace has the domain in its search list without asking for it, as far as the
// operator's own shows: the first of that, <namespace>.svc.<cluster domain>, has the pod's namespace instead.
func searched(own resolver.Settings, namespace, domain string) bool {
	if slices.Contains(own.Search, domain) {
		return true
	}
	rest, ok := strings.CutPrefix(domain, namespace+".")
	return ok && strings.HasPrefix(rest, "svc.") && slices.Contains(own.Search, rest)
}
