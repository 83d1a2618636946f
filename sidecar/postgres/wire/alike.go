package wire

import (
	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/postgres/catalogue"
	"github.com/chaperone-dev/chaperone/sidecar/postgres/sql"
)

// Query strings that differ in their constants alone are judged once: a parse takes 40 µs, finding the skeleton of a
// query 0.2. That is for where nothing hangs on a constant:
//
//   - the recogniser has said so (sql.Parsed.LiteralBlind): one SELECT, INSERT, UPDATE or DELETE, none of whose
//     constants is a column's number, a setting's name or what makes a condition filter;
//   - no rule has a condition, which may look at the text itself;
//   - the verdict is to allow: what is refused or shown to people is said of their own statement;
//   - session state, catalogue and rules are those of then, as for any verdict that is kept.
//
// The texts that are recorded, hashed and forwarded are always the statement's own.

// alike is the verdict on a query string of the same skeleton, where there is one that holds; else nil.
func (c *Core) alike(text []byte, rules *Rules, cat *catalogue.Catalogue, epoch uint64) *judged {
	if !rules.blind || len(c.skeletons) == 0 {
		return nil
	}
	own := string(text)
	var plain bool
	if c.skeleton, plain = sql.Skeleton(c.skeleton[:0], own); !plain {
		return nil
	}
	k := c.skeletons[string(c.skeleton)]
	if k == nil || !k.holds(rules, c.version, cat, epoch) {
		return nil
	}
	if k.text == own {
		return k
	}
	j := *k
	j.text, j.recorded = own, ""
	return &j
}

// keepAlike keeps j for all of its skeleton, where that may be.
func (c *Core) keepAlike(j *judged) bool {
	if !j.blind || !j.rules.blind || j.verdict.Action != policy.Allow {
		return false
	}
	var plain bool
	if c.skeleton, plain = sql.Skeleton(c.skeleton[:0], j.text); !plain {
		return false
	}
	c.skeletons[string(c.skeleton)] = j
	return true
}

// results is how the last result of a query string, or of those alike, was described and treated.
type results struct {
	described *description
	plan      *plan
	// bound is the same of the extended protocol.
	bound struct {
		described *description
		plan      *plan
	}
}

// planQuery is the plan of a simple query's rows: the last one's, while all that it was made of is the same.
func (c *Core) planQuery(o *owed, d *description) *plan {
	r := o.judged.results
	only := len(o.judged.parts) == 1 && o.run.part == 0 && o.run.named == nil
	if p := r.plan; only && p != nil && r.described == d && p.epoch == c.epoch() {
		return p
	}
	p := c.plan(o, d, nil)
	if only {
		r.described, r.plan = d, p
	}
	return p
}
