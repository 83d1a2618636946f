package dns

import "golang.org/x/net/dns/dnsmessage"

// Types that golang.org/x/net does not name.
const (
	typeNAPTR = dnsmessage.Type(35)
	typeSVCB  = dnsmessage.Type(64) // RFC 9460
	typeHTTPS = dnsmessage.Type(65)
)

// treatment is what happens to a record type.
type treatment int

const (
	// unsupported types are answered NOTIMP and never leave the pod: among them ANY (RFC 8482), zone transfers,
	// NULL and the private types that tunnels are built on.
	unsupported treatment = iota
	// passed on to the nameservers.
	passed
	// empty types are answered as if there were no such record. HTTPS and SVCB carry addresses that a client would
	// use without asking for them, and keys that hide the name it connects to (ECH), which is what a connection
	// that is passed through uninspected is checked by.
	empty
)

// treatments of the types that clients use to find a host. TXT is among them because clients find clusters and
// options by it (mongodb+srv), and it carries no more out than the name of an A query does.
var treatments = map[dnsmessage.Type]treatment{
	dnsmessage.TypeA:     passed,
	dnsmessage.TypeAAAA:  passed,
	dnsmessage.TypeCNAME: passed,
	dnsmessage.TypeSRV:   passed,
	dnsmessage.TypePTR:   passed,
	dnsmessage.TypeTXT:   passed,
	dnsmessage.TypeMX:    passed,
	dnsmessage.TypeNS:    passed,
	dnsmessage.TypeSOA:   passed,
	typeNAPTR:            passed,
	typeSVCB:             empty,
	typeHTTPS:            empty,
}
