// Package catalogue holds what is known of a server's relations: their columns, what views are made of, which
// tables share rows. The recogniser traces output columns with it, and a result's origin is named by it.
package catalogue

import (
	"github.com/chaperone-dev/chaperone/sidecar/postgres/sql"
)

var _ sql.Known = (*Catalogue)(nil)

// Catalogue is what one reading of the server's catalogues gave. It is immutable and safe for concurrent use.
type Catalogue struct {
	byName map[sql.RelationName]*relation
	byOID  map[uint32]*relation
	own    map[own]bool
	base   *Catalogue // asked where this one does not know
}

type own struct {
	kind sql.Own
	name string
}

type relation struct {
	name     sql.RelationName
	attnums  []int16
	relation sql.Relation
}

// Relation implements sql.Catalogue.
func (c *Catalogue) Relation(schema, name string) (sql.Relation, bool) {
	if r, ok := c.byName[sql.RelationName{Schema: schema, Name: name}]; ok {
		return r.relation, true
	}
	if c.base != nil {
		return c.base.Relation(schema, name)
	}
	return sql.Relation{}, false
}

// Named implements sql.Known. It looks at every relation: it is for statements that define something.
func (c *Catalogue) Named(name string) []sql.RelationName {
	var out []sql.RelationName
	for n := range c.byName {
		if n.Name == name {
			out = append(out, n)
		}
	}
	if c.base != nil {
		out = append(out, c.base.Named(name)...)
	}
	return out
}

// Column names the column that a RowDescription gives as a result column's origin. A whole-row reference or a
// system column has a name but no column; what is not known is false.
func (c *Catalogue) Column(oid uint32, attnum int16) (schema, table, column string, ok bool) {
	r, ok := c.byOID[oid]
	if !ok && c.base != nil {
		return c.base.Column(oid, attnum)
	}
	if !ok {
		return "", "", "", false
	}
	for i, n := range r.attnums {
		if n == attnum {
			return r.name.Schema, r.name.Name, r.relation.Columns[i], true
		}
	}
	return r.name.Schema, r.name.Name, "", attnum < 0
}

// Over returns what c knows on top of what base does: a session's own temporary relations on top of those that
// all sessions share.
func (c *Catalogue) Over(base *Catalogue) *Catalogue {
	return &Catalogue{byName: c.byName, byOID: c.byOID, base: base}
}

// Names are the names of the relations that c itself knows.
func (c *Catalogue) Names() map[string]bool {
	names := make(map[string]bool, len(c.byName))
	for n := range c.byName {
		names[n.Name] = true
	}
	return names
}

// Own implements sql.Catalogue.
func (c *Catalogue) Own(kind sql.Own, name string) bool {
	if c.base != nil && c.base.Own(kind, name) {
		return true
	}
	return c.own[own{kind, name}]
}

// Routines is what is known of code alone: with it no relation is known.
func (c *Catalogue) Routines() *Catalogue {
	if c == nil {
		return nil
	}
	for c.base != nil {
		c = c.base
	}
	return &Catalogue{own: c.own}
}
