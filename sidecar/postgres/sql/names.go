package sql

import (
	"slices"
	"strings"

	pg_query "github.com/pganalyze/pg_query_go/v6"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
)

// path returns the schemas in which an unqualified name is looked up, "$user" replaced; a user that is not known
// leaves an empty entry, which could be any schema.
func (st *State) path() []string {
	out := make([]string, 0, len(st.SearchPath))
	for _, s := range st.SearchPath {
		if s == "$user" {
			s = st.User
		}
		out = append(out, s)
	}
	return out
}

// table resolves a relation that exists. An unqualified name is, in the server's order, a temporary table, a
// system catalogue, or in the first schema of the search_path that has it; where several could have it, all are
// candidates.
func (st *State) table(schema, name string) policy.Table {
	t := st.found(schema, name)
	if schema != "" || len(st.Earlier[name]) == 0 {
		return t
	}
	for _, s := range st.earlier(name) {
		if st.Catalogue != nil && st.gone(s, name) {
			continue
		}
		if s != t.Schema && !slices.Contains(t.Candidates, s) {
			t.Candidates = append(t.Candidates, s)
		}
	}
	return t
}

// earlier are the schemas in which a plan made before could read a relation of the name. A plan made under another
// search_path is made anew.
func (st *State) earlier(name string) []string {
	before, path := st.Earlier[name], st.path()
	if len(before) == 0 || st.Planned || len(path) == 0 || slices.Contains(path, "") {
		return before
	}
	if slices.Contains(before, "") {
		before = append(slices.Clone(before), path...)
	}
	var out []string
	for _, s := range before {
		if s == schemaTemporary || s == schemaCatalog || s != "" && slices.Contains(path, s) {
			out = append(out, s)
		}
	}
	return out
}

// gone tells whether no plan made before can read the relation, because it is not there: who drops or renames one
// makes the server plan anew.
func (st *State) gone(schema, name string) bool {
	if st.Planned || schema == "" || schema == schemaTemporary || schema == schemaCatalog || schema == schemaInformation {
		return false
	}
	_, found := st.Catalogue.Relation(schema, name)
	return !found
}

// found resolves a relation as it would be found now.
func (st *State) found(schema, name string) policy.Table {
	if schema != "" {
		return policy.Table{Schema: schema, Name: name}
	}
	path := st.path()
	if st.Temporary[name] && !slices.Contains(path, schemaTemporary) {
		return candidates(name, append([]string{schemaTemporary}, path...))
	}
	if !slices.Contains(path, schemaCatalog) {
		if systemRelations[name] {
			return policy.Table{Schema: schemaCatalog, Name: name}
		}
		if strings.HasPrefix(name, "pg_") {
			// A catalogue of a newer server, perhaps.
			path = append([]string{schemaCatalog}, path...)
		}
	}
	if st.Catalogue != nil && !slices.Contains(path, "") {
		for _, s := range path {
			if _, found := st.Catalogue.Relation(s, name); found {
				return policy.Table{Schema: s, Name: name}
			}
		}
	}
	return candidates(name, path)
}

func candidates(name string, path []string) policy.Table {
	t := policy.Table{Name: name}
	if len(path) > 0 {
		t.Schema = path[0]
	}
	for _, s := range path[min(1, len(path)):] {
		if s != t.Schema && !slices.Contains(t.Candidates, s) {
			t.Candidates = append(t.Candidates, s)
		}
	}
	return t
}

// created resolves a relation that the statement makes: an unqualified one comes into the first schema of the
// search_path.
func (st *State) created(rv *pg_query.RangeVar) policy.Table {
	switch {
	case rv.Schemaname != "":
		return policy.Table{Schema: rv.Schemaname, Name: rv.Relname}
	case rv.Relpersistence == "t":
		return policy.Table{Schema: schemaTemporary, Name: rv.Relname}
	}
	t := policy.Table{Name: rv.Relname}
	if path := st.path(); len(path) > 0 {
		t.Schema = path[0]
	}
	return t
}

// temporary reports whether the relation that a statement makes is a temporary one.
func (st *State) temporary(rv *pg_query.RangeVar) bool {
	schema := st.created(rv).Schema
	return schema == schemaTemporary || strings.HasPrefix(schema, schemaTemporary+"_")
}

// namesOf returns every relation that the table could be.
func namesOf(t policy.Table) []RelationName {
	out := []RelationName{{t.Schema, t.Name}}
	for _, s := range t.Candidates {
		out = append(out, RelationName{s, t.Name})
	}
	return out
}

// dotted is a name as policies write it; an unknown schema is any.
func dotted(parts ...string) string {
	for i, p := range parts {
		if p == "" {
			parts[i] = policy.Unknown
		}
	}
	return strings.Join(parts, ".")
}

// stringsOf returns the texts of a list of String nodes; ok is false where one is something else.
func stringsOf(nodes []*pg_query.Node) (out []string, ok bool) {
	for _, n := range nodes {
		s, is := n.GetNode().(*pg_query.Node_String_)
		if !is {
			return out, false
		}
		out = append(out, s.String_.GetSval())
	}
	return out, true
}

// relationOf splits an object's name list into schema and relation; catalog.schema.relation loses its catalog,
// which can only be the current one.
func relationOf(names []string) (schema, name string) {
	switch len(names) {
	case 0:
		return "", ""
	case 1:
		return "", names[0]
	}
	return names[len(names)-2], names[len(names)-1]
}
