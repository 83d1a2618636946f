package dns

import (
	"errors"
	"net/netip"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/chaperone-dev/chaperone/sidecar/redirect/resolver"
)

const (
	// maxRecords bounds how many answer records are looked at; BIND gives no more than 100 addresses for a name by
	// default (max-records-per-type).
	maxRecords = 256
	// maxChain bounds a chain of CNAMEs, as resolvers do (BIND 11, Unbound 12).
	maxChain = 16
)

// answer is what is understood of a nameserver's answer.
type answer struct {
	code      dnsmessage.RCode
	truncated bool
	// addresses of the name that was asked for, reached from it through the answer's own CNAMEs: other records in
	// the answer are the word of whoever runs the asked name's zone, about names that are not theirs.
	addresses []netip.Addr
	ttl       time.Duration // the least on the way
}

var errMismatch = errors.New("not the answer to this query")

// parseAnswer reads an answer to the question, sent under the id.
func parseAnswer(packet []byte, id uint16, question dnsmessage.Question) (answer, error) {
	var p dnsmessage.Parser
	header, err := p.Start(packet)
	if err != nil {
		return answer{}, err
	}
	if !header.Response || header.ID != id || header.OpCode != 0 {
		return answer{}, errMismatch
	}
	a := answer{code: header.RCode, truncated: header.Truncated}
	asked, err := p.Question()
	switch {
	case errors.Is(err, dnsmessage.ErrSectionDone) && header.RCode != dnsmessage.RCodeSuccess:
		// Some servers leave the question out of a FORMERR or NOTIMP.
		return a, nil
	case err != nil:
		return answer{}, err
	case asked.Type != question.Type || asked.Class != question.Class || !sameName(asked.Name, question.Name):
		return answer{}, errMismatch
	}
	if err := p.SkipAllQuestions(); err != nil {
		return answer{}, err
	}
	if err := a.collect(&p, question); err != nil && !a.truncated {
		return answer{}, err
	}
	return a, nil
}

func sameName(a, b dnsmessage.Name) bool {
	return resolver.Canonical(a.String()) == resolver.Canonical(b.String())
}

type record struct {
	owner   string
	alias   string // of a CNAME
	address netip.Addr
	ttl     uint32
}

func (a *answer) collect(p *dnsmessage.Parser, question dnsmessage.Question) error {
	var records []record
	for range maxRecords {
		h, err := p.AnswerHeader()
		if errors.Is(err, dnsmessage.ErrSectionDone) {
			break
		}
		if err != nil {
			return err
		}
		r := record{ttl: h.TTL}
		switch {
		case h.Class != dnsmessage.ClassINET:
			err = p.SkipAnswer()
		case h.Type == dnsmessage.TypeCNAME:
			var c dnsmessage.CNAMEResource
			c, err = p.CNAMEResource()
			r.alias = resolver.Canonical(c.CNAME.String())
		case h.Type == dnsmessage.TypeA:
			var v dnsmessage.AResource
			v, err = p.AResource()
			r.address = netip.AddrFrom4(v.A)
		case h.Type == dnsmessage.TypeAAAA:
			var v dnsmessage.AAAAResource
			v, err = p.AAAAResource()
			r.address = netip.AddrFrom16(v.AAAA).Unmap()
		default:
			err = p.SkipAnswer()
		}
		if err != nil {
			return err
		}
		if r.alias != "" || r.address.IsValid() {
			r.owner = resolver.Canonical(h.Name.String())
			records = append(records, r)
		}
	}
	a.follow(records, resolver.Canonical(question.Name.String()))
	return nil
}

// follow gathers the addresses of the name, from alias to alias.
func (a *answer) follow(records []record, name string) {
	least := ^uint32(0)
	for range maxChain {
		next := ""
		for _, r := range records {
			if r.owner != name {
				continue
			}
			least = min(least, r.ttl)
			if r.address.IsValid() {
				a.addresses = append(a.addresses, r.address)
			} else if next == "" {
				next = r.alias
			}
		}
		if len(a.addresses) > 0 || next == "" {
			break
		}
		name = next
	}
	// A TTL with the highest bit set counts as 0 (RFC 2181 8).
	if len(a.addresses) > 0 && least < 1<<31 {
		a.ttl = time.Duration(least) * time.Second
	}
}
