package wire

import (
	"github.com/chaperone-dev/chaperone/sidecar/postgres/sql"
)

// forwarded notes what a statement that runs now will do to what later ones mean.
func (c *Core) forwarded(o *owed) {
	j := o.judged
	o.sensitive = j.settles && c.sensitive
	c.sensitive = c.sensitive || j.touches || o.touching()
	if j.names {
		c.nameWork++
		o.counted = true
	}
	c.segment.reformed = c.segment.reformed || j.reforms
	if j.tracked {
		c.stale, c.touched = true, true
	}
	if j.ends && c.touched {
		c.stale = true
	}
	if j.catalogue && !c.altering { // whether or not this session needs the catalogue, others may
		c.cfg.Catalogue.Begin()
		c.altering = true
	}
	if j.temporary || (j.catalogue || j.ends) && len(c.state.Temporary) > 0 {
		c.tempsChange()
	}
	if j.copyIn {
		c.copyIn = copyExpected
	}
	for i := range j.parts {
		if name := j.parts[i].CreatesTemporary; name != "" {
			c.temporary(name)
		}
	}
}

// temporary notes that the session may have a temporary relation of the name. States are kept by what was judged
// with them, so a new one is made.
func (c *Core) temporary(name string) {
	if c.state.Temporary[name] {
		return
	}
	grown := make(map[string]bool, len(c.state.Temporary)+1)
	for n := range c.state.Temporary {
		grown[n] = true
	}
	grown[name] = true
	c.state.Temporary = grown
	c.version++
}

// tempsChange forgets the session's temporary relations until they are read again.
func (c *Core) tempsChange() {
	c.tempStale = true
	c.temps, c.layered, c.under = nil, nil, nil
	c.version++
}

// altered ends what the session may have been doing to the catalogue.
func (c *Core) altered() {
	if c.altering {
		c.altering = false
		c.cfg.Catalogue.End()
	}
}

// completed takes in what a statement did that has just succeeded.
func (c *Core) completed(o *owed) {
	p := o.part()
	if p == nil || o.of != nil && (o.of.cursor || o.of.statement.bySQL) {
		return
	}
	switch p.Kind {
	case sql.KindPrepare:
		if c.names.room(len(p.Text)) {
			s := &statement{text: p.Text, bySQL: true}
			c.found(s, p.innerCommands)
			c.names.statements[p.Prepared.Name] = s
		}
	case sql.KindDeallocate:
		if p.Prepared.All {
			clear(c.names.statements)
		} else {
			delete(c.names.statements, p.Prepared.Name)
		}
	case sql.KindDeclare:
		if len(c.names.portals) < maxNames {
			s := &statement{text: p.Text, bySQL: true, meaning: meaning{planned: true, held: p.Cursor.Hold, epoch: o.judged.epoch}}
			c.found(s, p.innerCommands)
			c.names.portals[p.Cursor.Name] = &portal{
				statement: s, cursor: true, hold: p.Cursor.Hold, granted: o.run.granted, made: o.segment,
			}
		}
	case sql.KindClose:
		if p.Cursor.All {
			clear(c.names.portals)
		} else {
			delete(c.names.portals, p.Cursor.Name)
		}
	case sql.KindDiscard:
		if p.Discard == sql.DiscardAll {
			clear(c.names.statements)
			clear(c.names.portals)
		}
	}
}
