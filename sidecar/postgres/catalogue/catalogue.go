// Package catalogue holds what is known of a server's relations: their columns, what views are made of, which
// tables share rows. The recogniser traces output columns with it, and a result's origin is named by it.
package catalogue

import (
	"github.com/chaperone-dev/chaperone/sidecar/postgres/sql"
)

var _ sql.Catalogue = (*Catalogue)(nil)

// Catalogue is what one reading of the server's catalogues gave. It is immutable and safe for concurrent use.
type Catalogue struct {
	byName map[sql.RelationName]*relation
	byOID  map[uint32]*relation
}

type relation struct {
	name     sql.RelationName
	attnums  []int16
	relation sql.Relation
}

// Relation implements sql.Catalogue.
func (c *Catalogue) Relation(schema, name string) (sql.Relation, bool) {
	r, ok := c.byName[sql.RelationName{Schema: schema, Name: name}]
	if !ok {
		return sql.Relation{}, false
	}
	return r.relation, true
}

// Column names the column that a RowDescription gives as a result column's origin. A whole-row reference or a
// system column has a name but no column; what is not known is false.
func (c *Catalogue) Column(oid uint32, attnum int16) (schema, table, column string, ok bool) {
	r, ok := c.byOID[oid]
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

// Len is the number of relations known.
func (c *Catalogue) Len() int { return len(c.byName) }
