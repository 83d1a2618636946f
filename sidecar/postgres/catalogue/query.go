package catalogue

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/chaperone-dev/chaperone/sidecar/postgres/sql"
)

// Query reads the catalogues. It is a simple query of several statements and so one transaction, at whose end
// its search_path is gone; that path is empty, so that every name in a view's definition is written in full. The
// definitions of the system's own views are not read: nothing from them is ever proved clear.
const Query = `SELECT pg_catalog.set_config('search_path', '', true);
SELECT c.oid, n.nspname, c.relname, c.relkind,
  CASE WHEN c.relkind IN ('v', 'm') AND n.nspname NOT IN ('pg_catalog', 'information_schema')
    THEN pg_catalog.pg_get_viewdef(c.oid) END
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S', 'c') AND n.nspname <> 'pg_toast';
SELECT a.attrelid, a.attnum, a.attname, a.attgenerated <> ''
  FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
  WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S', 'c')
  ORDER BY a.attrelid, a.attnum;
SELECT inhrelid, inhparent FROM pg_catalog.pg_inherits;
WITH own AS (
  SELECT p.oid, p.proname, p.pronargs >= 1 AND p.pronargs - p.pronargdefaults <= 1 AS single FROM pg_catalog.pg_proc p WHERE p.oid >= 16384 AND NOT EXISTS (
    SELECT FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid
      WHERE d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.objid = p.oid
        AND d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass AND d.deptype = 'e'
        AND (e.extname = 'citext' OR p.prolang IN (SELECT oid FROM pg_catalog.pg_language WHERE lanname IN ('c', 'internal')))))
SELECT DISTINCT 'f', proname FROM own
UNION SELECT 'o', o.oprname FROM pg_catalog.pg_operator o JOIN own ON own.oid = o.oprcode
UNION SELECT CASE c.castcontext WHEN 'e' THEN 'c' ELSE 'i' END, CASE c.castcontext WHEN 'e' THEN t.typname ELSE '' END
  FROM pg_catalog.pg_cast c JOIN own ON own.oid = c.castfunc JOIN pg_catalog.pg_type t ON t.oid = c.casttarget
UNION SELECT 'a', proname FROM own WHERE single`

// TemporaryQuery reads the session's own temporary relations, in as many results as Query gives, under the name
// that statements know their schema by. Where a view's columns come from is left unknown: to have it written out
// would need another search_path, and this query may run inside an agent's transaction.
const TemporaryQuery = `SELECT 1;
SELECT oid, 'pg_temp', relname, relkind, NULL
  FROM pg_catalog.pg_class WHERE relnamespace = pg_catalog.pg_my_temp_schema() AND relkind IN ('r', 'p', 'v', 'S');
SELECT a.attrelid, a.attnum, a.attname, a.attgenerated <> ''
  FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
  WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relnamespace = pg_catalog.pg_my_temp_schema() AND c.relkind IN ('r', 'p', 'v', 'S')
  ORDER BY a.attrelid, a.attnum;
SELECT inhrelid, inhparent FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid
  WHERE c.relnamespace = pg_catalog.pg_my_temp_schema();
SELECT 1 LIMIT 0`

// Results is the number of results that Query and TemporaryQuery give.
const Results = 5

// Builder makes a Catalogue from Query's rows, in the text format.
type Builder struct {
	c      Catalogue
	parent map[uint32]uint32 // union-find over inheritance
}

// NewBuilder returns an empty Builder.
func NewBuilder() *Builder {
	return &Builder{
		c:      Catalogue{byName: make(map[sql.RelationName]*relation), byOID: make(map[uint32]*relation), own: make(map[own]bool)},
		parent: make(map[uint32]uint32),
	}
}

// Row takes one row of result number i, from 0. A nil value is NULL.
func (b *Builder) Row(i int, values [][]byte) error {
	switch {
	case i == 0:
		return nil
	case i == 1 && len(values) == 5:
		return b.relation(values)
	case i == 2 && len(values) == 4:
		return b.column(values)
	case i == 3 && len(values) == 2:
		return b.inherit(values)
	case i == 4 && len(values) == 2 && len(values[0]) == 1:
		b.routine(sql.Own(values[0][0]), string(values[1]))
		return nil
	}
	return fmt.Errorf("reading the catalogues: result %d has %d columns", i, len(values))
}

func (b *Builder) relation(values [][]byte) error {
	oid, err := number(values[0], 32)
	if err != nil {
		return err
	}
	if len(values[3]) != 1 {
		return fmt.Errorf("reading the catalogues: relkind %q", values[3])
	}
	r := &relation{
		name:     sql.RelationName{Schema: string(values[1]), Name: string(values[2])},
		relation: sql.Relation{Kind: values[3][0], Definition: string(values[4])},
	}
	b.c.byOID[uint32(oid)] = r
	b.c.byName[r.name] = r
	return nil
}

func (b *Builder) column(values [][]byte) error {
	oid, err := number(values[0], 32)
	if err != nil {
		return err
	}
	attnum, err := number(values[1], 15)
	if err != nil {
		return err
	}
	if r := b.c.byOID[uint32(oid)]; r != nil {
		r.attnums = append(r.attnums, int16(attnum))
		r.relation.Columns = append(r.relation.Columns, string(values[2]))
		if string(values[3]) == "t" {
			if r.relation.Generated == nil {
				r.relation.Generated = make(map[string]bool)
			}
			r.relation.Generated[string(values[2])] = true
		}
	}
	return nil
}

func (b *Builder) inherit(values [][]byte) error {
	child, err := number(values[0], 32)
	if err != nil {
		return err
	}
	parent, err := number(values[1], 32)
	if err != nil {
		return err
	}
	b.parent[b.root(uint32(child))] = b.root(uint32(parent))
	return nil
}

// routine notes code of the database by a name that means something: a function by any other name is unknown anyhow,
// where it stands as a call.
func (b *Builder) routine(kind sql.Own, name string) {
	if kind == sql.OwnFunction && !sql.Harmless(name) || kind == sql.OwnAttribute && sql.Harmless(name) {
		return
	}
	b.c.own[own{kind, name}] = true
}

func (b *Builder) root(oid uint32) uint32 {
	for {
		up, ok := b.parent[oid]
		if !ok || up == oid {
			return oid
		}
		if next, ok := b.parent[up]; ok {
			b.parent[oid] = next
		}
		oid = up
	}
}

// Build ends the reading.
func (b *Builder) Build() *Catalogue {
	families := make(map[uint32][]*relation)
	for oid := range b.parent {
		if r := b.c.byOID[oid]; r != nil {
			families[b.root(oid)] = append(families[b.root(oid)], r)
		}
	}
	for root, members := range families {
		if r := b.c.byOID[root]; r != nil && !slices.Contains(members, r) {
			members = append(members, r)
		}
		family := make([]sql.RelationName, len(members)) // one for all of them: a table may have thousands
		for i, r := range members {
			family[i] = r.name
			r.relation.Family = family
		}
	}
	return &b.c
}

func number(text []byte, bits int) (uint64, error) {
	n, err := strconv.ParseUint(string(text), 10, bits)
	if err != nil {
		return 0, fmt.Errorf("reading the catalogues: %w", err)
	}
	return n, nil
}
