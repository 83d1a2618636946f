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
}

// DefaultState is a fresh session's, on a server with default settings and without a schema named as the user.
func DefaultState() State {
	return State{SearchPath: []string{"public"}, StandardConformingStrings: true}
}
