package sql

import (
	"fmt"
	"strings"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
)

// Protected is the columns that a destination's policies mask by name. The nil value protects nothing.
type Protected struct {
	rows []protectedRow
}

type protectedRow struct {
	index int
	parts [3]string // schema, table, column
}

// NewProtected compiles the rows that name columns.
func NewProtected(masking []policy.Masking) (*Protected, error) {
	p := &Protected{}
	for i := range masking {
		for _, text := range masking[i].Columns {
			parts := strings.Split(text, ".")
			if len(parts) != 3 {
				return nil, fmt.Errorf("masking[%d].columns: %q is not schema.table.column", i, text)
			}
			p.rows = append(p.rows, protectedRow{i, [3]string(parts)})
		}
	}
	return p, nil
}

// Empty reports whether nothing is protected by name.
func (p *Protected) Empty() bool { return p == nil || len(p.rows) == 0 }

// Match returns the index of the first masking row that protects the column. A part that is not known (empty)
// could be anything, so it matches.
func (p *Protected) Match(schema, table, column string) (index int, ok bool) {
	if p == nil {
		return 0, false
	}
	for i := range p.rows {
		r := &p.rows[i]
		if policy.Touches(r.parts[0], schema) && policy.Touches(r.parts[1], table) && policy.Touches(r.parts[2], column) {
			return r.index, true
		}
	}
	return 0, false
}
