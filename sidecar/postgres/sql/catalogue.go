package sql

// Catalogue is what is known of the server's relations. Implementations answer from memory and are safe for
// concurrent use.
type Catalogue interface {
	// Relation returns the relation of the name, or false where none is known. An unknown relation is never
	// proved clear.
	Relation(schema, name string) (Relation, bool)
	// Own reports whether the database has code of its own that an unqualified name of the server's could run.
	Own(kind Own, name string) bool
}

// Known is a catalogue that can be asked for a name whose schema is not known.
type Known interface {
	Catalogue
	// Named returns the relations of the name in whatever schema.
	Named(name string) []RelationName
}

// Own is a kind of code that belongs to the database, not to the server or to a trusted extension.
type Own byte

const (
	OwnFunction Own = 'f'
	OwnOperator Own = 'o'
	OwnCast     Own = 'c' // by the name of the type that is cast to
	OwnImplicit Own = 'i' // casts that no statement shows; without a name
	// OwnAttribute is a function of one argument by a name that is none of the server's harmless ones: (x).f is a call
	// of it where x has no field f.
	OwnAttribute Own = 'a'
)

// Relation is a table, view or anything else that can stand in FROM.
type Relation struct {
	// Kind is pg_class.relkind: r, p, v, m, f, S, c, t, i.
	Kind byte
	// Columns are the live columns' names in order of attnum.
	Columns []string
	// Generated are those of Columns that are generated: COPY leaves them out.
	Generated map[string]bool
	// Definition is pg_get_viewdef of a view or materialized view, every name in it schema-qualified (taken
	// with an empty search_path). Empty: where its columns come from is not known.
	Definition string
	// Family are the relations that share rows with this one: ancestors and descendants by inheritance or
	// partitioning. A column protected in one is protected in all.
	Family []RelationName
}

// RelationName is a relation's full name.
type RelationName struct {
	Schema, Name string
}
