package sql

// Lineage says for each output column of the statement whether it could hold a value that p protects. Whatever
// is not proved clear is not clear; cat may be nil, and then no relation is known.
func (s *Statement) Lineage(p *Protected, cat Catalogue) Shape {
	if p.Empty() {
		return Shape{Rest: Column{Proof: Clear}}
	}
	return Shape{Rest: Column{Proof: Unproved, Source: "the statement's columns are not traced"}}
}
