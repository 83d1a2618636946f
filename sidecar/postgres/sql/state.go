package sql

// State is the session state that changes what a statement means.
type State struct {
	// SearchPath holds the schemas in which an unqualified name is looked up, in order, as
	// current_schemas(false) returns them: schemas that exist, without the implicit pg_catalog and pg_temp. The
	// entry "$user" stands for User. Empty: an unqualified name could be in any schema.
	SearchPath []string
	// User is the session's current role.
	User string
	// StandardConformingStrings has to be on: the grammar reads string literals that way only.
	StandardConformingStrings bool
	// Temporary are the names of temporary relations that the session may have: they shadow every schema.
	Temporary map[string]bool
	// Catalogue resolves unqualified names where it is known. May be nil.
	Catalogue Catalogue
	// Last is the catalogue as it was last known, which is more than nothing while it is being changed: by it a
	// definition is refused that could take a column away from its mask. May be nil: then any relation could be one
	// whose columns are masked.
	Last Known
	// Earlier are, by the unqualified name of a relation, the schemas that a prepared statement has been found to mean
	// by it before; an empty one could be any. A plan that the server has kept may still read there: it makes a new one
	// when the search_path or a relation of the plan has changed, not when a new relation shadows one (plancache.c,
	// RevalidateCachedQuery).
	Earlier map[string][]string
	// Planned says that the plan is never made anew, whatever changes: the statement is a cursor's or a portal's.
	Planned bool
}

// DefaultState is a fresh session's, on a server with default settings and without a schema named as the user.
func DefaultState() State {
	return State{SearchPath: []string{"public"}, StandardConformingStrings: true}
}
