package wire

import (
	"slices"

	"github.com/chaperone-dev/chaperone/sidecar/mask"
	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/postgres/sql"
)

// treatment is what is done to a column's values.
type treatment uint8

const (
	treatPass   treatment = iota // proved clear, of a type that detectors pass over
	treatDetect                  // proved clear: detectors look at it
	treatMask                    // replaced by method
	treatNull                    // withheld
)

// column is how one result column is treated.
type column struct {
	treatment treatment
	method    policy.Method
	typ       uint32
	typmod    int32
	format    int16
}

// plan is how a result is treated. It is immutable.
type plan struct {
	columns []column
	// pass says that rows go on unseen; detect, that a row in which no detector could match does.
	pass, detect bool

	// What it was made of.
	judged    *judged
	described *description
	formats   []int16
	epoch     uint64
}

// withheld is the plan of a result that nothing is known of.
var withheld = &plan{}

// planFor is the plan of a portal's rows.
func (c *Core) planFor(o *owed) *plan {
	s := o.of.statement
	if s.described == nil {
		if r := o.judged.rules; !r.masks() {
			return &plan{pass: true}
		}
		return withheld
	}
	epoch := c.epoch()
	again := func(p *plan) bool {
		return p != nil && p.described == s.described && p.epoch == epoch && slices.Equal(p.formats, o.of.formats) && o.run.named == nil
	}
	if p := s.plan; again(p) && p.judged == o.judged {
		return p
	}
	r := &o.judged.results.bound
	alike := !s.bySQL && len(o.judged.parts) == 1
	if p := r.plan; alike && again(p) {
		return p
	}
	p := c.plan(o, s.described, o.of)
	p.formats = slices.Clone(o.of.formats)
	if o.run.named == nil {
		s.plan = p
		if alike {
			r.plan = p
		}
	}
	return p
}

// method is how a masked column's values are replaced.
func (r *Rules) method(c sql.Column) policy.Method {
	if m := r.masking[c.Row].Method; m != policy.MaskHash || !c.Mixed {
		return m
	}
	return policy.MaskRedact // an agent that gives values of its own could look the others up by their hashes
}

func (c *Core) epoch() uint64 {
	if shared := c.shared(); shared != nil {
		return shared.Epoch()
	}
	return 0
}

// plan decides what happens to each column of a result: what is not proved clear by the statement's lineage is
// masked, and so is what the server says comes from a protected column. of is the portal, nil for the result of
// a simple query, whose description says the formats.
func (c *Core) plan(o *owed, d *description, of *portal) *plan {
	rules := o.judged.rules
	epoch := c.epoch()
	p := &plan{judged: o.judged, described: d, epoch: epoch}
	if !rules.masks() {
		p.pass = true
		return p
	}
	shape := c.shape(o, of, epoch)
	p.columns = make([]column, len(d.fields))
	p.pass, p.detect = true, true
	for i, f := range d.fields {
		col := column{typ: f.typ, typmod: f.typmod, format: f.format}
		if of != nil {
			col.format = formatOf(of.formats, i)
		}
		proof := shape.Column(i, len(d.fields))
		if row, ok := c.origin(o.judged, f); ok && proof.Proof != sql.Masked {
			proof = sql.Column{Proof: sql.Masked, Row: row}
		}
		switch {
		case proof.Proof == sql.Masked && proof.Row >= 0 && proof.Row < len(rules.masking):
			col.treatment, col.method = treatMask, rules.method(proof)
		case proof.Proof != sql.Clear:
			col.treatment, col.method = treatMask, policy.MaskRedact
		case !rules.detectors.Empty() && mask.Applies(f.typ):
			col.treatment = treatDetect
		}
		if col.treatment == treatMask && col.method == policy.MaskNull {
			col.treatment = treatNull
		}
		p.pass = p.pass && col.treatment == treatPass
		// A card number in a binary bigint does not look like one to May.
		p.detect = p.detect && (col.treatment == treatPass || col.treatment == treatDetect && (col.typ != 20 || col.format == 0))
		p.columns[i] = col
	}
	return p
}

// shape is what is known of the columns of the rows that come now. What was known of the server's relations when
// the statement was judged does not hold if any session has changed them since.
func (c *Core) shape(o *owed, of *portal, epoch uint64) sql.Shape {
	j := o.judged
	if j.rules.protected.Empty() {
		return sql.Shape{Rest: sql.Column{Proof: sql.Clear}}
	}
	unproved := sql.Shape{Rest: sql.Column{Proof: sql.Unproved, Source: "not known"}}
	p := o.part()
	if p == nil || epoch != j.epoch {
		return unproved
	}
	if of != nil && of.statement.bySQL {
		if of.statement.outlived(epoch) {
			return unproved
		}
		return p.inner
	}
	switch p.Kind {
	case sql.KindExecute, sql.KindFetch:
		if o.run.part >= len(o.run.named) || o.run.named[o.run.part] == nil {
			return unproved
		}
		s := o.run.named[o.run.part]
		inner := c.judgeStatement(s)
		if s.outlived(epoch) || inner.epoch != epoch || inner.rules != j.rules || len(inner.parts) != 1 {
			return unproved
		}
		if s.bySQL {
			return inner.parts[0].inner
		}
		return inner.parts[0].shape
	}
	return p.shape
}

// origin finds the masking row of the column that the server names as a result column's origin. Only that a
// column is protected can be known by that, never that it is not: a view names itself, a function nothing.
func (c *Core) origin(j *judged, f field) (row int, ok bool) {
	if f.table == 0 || j.cat == nil {
		return 0, false
	}
	schema, table, name, known := j.cat.Column(f.table, f.attnum)
	if !known || name == "" {
		return 0, false
	}
	if row, ok = j.rules.protected.Match(schema, table, name); ok {
		return row, true
	}
	r, _ := j.cat.Relation(schema, table)
	for _, relative := range r.Family {
		if row, ok = j.rules.protected.Match(relative.Schema, relative.Name, name); ok {
			return row, true
		}
	}
	return 0, false
}

// formatOf is a column's format by a Bind's result formats: none means text, one holds for all.
func formatOf(formats []int16, i int) int16 {
	switch {
	case len(formats) == 0:
		return 0
	case len(formats) == 1:
		return formats[0]
	case i < len(formats):
		return formats[i]
	}
	return 0
}
