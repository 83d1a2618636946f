// Package dns answers the pod's DNS from the nameservers noted before any agent code ran, remembers which name gave
// which address, and resolves the names of policies for the sidecar itself.
//
// A name server that agents may ask freely is a way out of the pod: labels and records carry data. So a query is
// never passed on as it came but built anew from what was understood of it; names that no policy lets the pod
// connect to are answered here with NXDOMAIN, so that a search list goes on to the next domain; and only the record
// types that clients need to find a host are asked for.
package dns

import (
	"errors"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/chaperone-dev/chaperone/sidecar/redirect/resolver"
)

const (
	// maxQuery bounds a query: 12 bytes of header, a name of at most 255, type and class, and an OPT record with
	// the options that stub resolvers send (a cookie, padding to 128; RFC 7830, RFC 8467).
	maxQuery = 1024
	// plainSize is what a client takes over UDP that does not say otherwise (RFC 1035 4.2.1).
	plainSize = 512
	// maxUDP is the most we take over UDP; larger answers come truncated and are asked for over TCP.
	maxUDP = 4096
)

// query is what is understood, and passed on, of a query.
type query struct {
	id       uint16
	question dnsmessage.Question
	// name is the question's name for comparing: lower case, no final dot.
	name             string
	recursionDesired bool
	checkingDisabled bool
	dnssec           bool
	edns             bool
	// size is what the client takes over UDP.
	size int
}

// parseQuery reads a query from the pod. When it is to be answered with an error code, that is not success and q
// holds what the answer needs; answer is false for what deserves none, because it might be an answer itself.
func parseQuery(packet []byte) (q query, code dnsmessage.RCode, answer bool) {
	var p dnsmessage.Parser
	header, err := p.Start(packet)
	if err != nil || header.Response {
		return q, 0, false
	}
	q = query{id: header.ID, recursionDesired: header.RecursionDesired, checkingDisabled: header.CheckingDisabled, size: plainSize}
	if header.OpCode != 0 {
		return q, dnsmessage.RCodeNotImplemented, true
	}
	if len(packet) > maxQuery {
		return q, dnsmessage.RCodeFormatError, true
	}
	q.question, err = p.Question()
	if err != nil {
		return q, dnsmessage.RCodeFormatError, true
	}
	q.name = resolver.Canonical(q.question.Name.String())
	if _, err := p.Question(); !errors.Is(err, dnsmessage.ErrSectionDone) {
		return q, dnsmessage.RCodeFormatError, true
	}
	if q.question.Class != dnsmessage.ClassINET {
		return q, dnsmessage.RCodeRefused, true
	}
	if p.SkipAllAnswers() != nil || p.SkipAllAuthorities() != nil || !q.options(&p) {
		return q, dnsmessage.RCodeFormatError, true
	}
	return q, dnsmessage.RCodeSuccess, true
}

// options looks for the OPT record (RFC 6891).
func (q *query) options(p *dnsmessage.Parser) bool {
	for {
		h, err := p.AdditionalHeader()
		if errors.Is(err, dnsmessage.ErrSectionDone) {
			return true
		}
		if err != nil {
			return false
		}
		if h.Type == dnsmessage.TypeOPT {
			q.edns, q.dnssec = true, h.DNSSECAllowed()
			q.size = min(max(int(h.Class), plainSize), maxUDP)
		}
		if p.SkipAdditional() != nil {
			return false
		}
	}
}

// forward builds the query that goes to a nameserver.
func (q *query) forward(id uint16) ([]byte, error) {
	b := dnsmessage.NewBuilder(make([]byte, 0, plainSize), dnsmessage.Header{
		ID: id, RecursionDesired: q.recursionDesired, CheckingDisabled: q.checkingDisabled,
	})
	if err := b.StartQuestions(); err != nil {
		return nil, err
	}
	if err := b.Question(q.question); err != nil {
		return nil, err
	}
	if q.edns {
		if err := b.StartAdditionals(); err != nil {
			return nil, err
		}
		var h dnsmessage.ResourceHeader
		if err := h.SetEDNS0(q.size, dnsmessage.RCodeSuccess, q.dnssec); err != nil {
			return nil, err
		}
		if err := b.OPTResource(h, dnsmessage.OPTResource{}); err != nil {
			return nil, err
		}
	}
	return b.Finish()
}

// Extended DNS errors (RFC 8914 section 4).
const (
	optionEDE      = 15
	edeBlocked     = 15
	edeNotReady    = 14
	edeUnreachable = 22
	edeNotSupport  = 21
)

// reply builds an answer without records. Why is for people and goes along where the client takes it.
func (q *query) reply(code dnsmessage.RCode, info uint16, why string) []byte {
	b := dnsmessage.NewBuilder(make([]byte, 0, plainSize), dnsmessage.Header{
		ID: q.id, Response: true, RCode: code,
		RecursionDesired: q.recursionDesired, RecursionAvailable: true, CheckingDisabled: q.checkingDisabled,
	})
	if q.question.Name.Length > 0 {
		if b.StartQuestions() != nil || b.Question(q.question) != nil {
			return nil
		}
	}
	if q.edns {
		var h dnsmessage.ResourceHeader
		var opt dnsmessage.OPTResource
		if why != "" {
			why = why[:min(len(why), plainSize/2)]
			opt.Options = []dnsmessage.Option{{Code: optionEDE, Data: append([]byte{byte(info >> 8), byte(info)}, why...)}}
		}
		if h.SetEDNS0(maxUDP, dnsmessage.RCodeSuccess, q.dnssec) != nil || b.StartAdditionals() != nil || b.OPTResource(h, opt) != nil {
			return nil
		}
	}
	out, err := b.Finish()
	if err != nil {
		return nil
	}
	return out
}
