package sql

import (
	pg_query "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/proto"
)

// secretColumns are the columns for which the relations of the group Passwords are refused.
var secretColumns = words(`rolpassword passwd umoptions subconninfo option_value authinfo`)

// harmless reports whether the statement cannot show a secret column of a relation that it uses, whatever its shape:
// a SELECT that reads each column by its name and none by a secret one's, and that renames no columns, where they
// would come in by their position.
func harmless(m proto.Message) bool {
	root, ok := m.(*pg_query.SelectStmt)
	if !ok {
		return false
	}
	var s spelling
	s.walk(root)
	if s.hidden {
		return false
	}
	for _, name := range s.columns {
		// The name of a relation where a column could stand is its whole row.
		if secretColumns[name] || s.relations[name] {
			return false
		}
	}
	return true
}

// spelling is what a statement's columns and relations are called in it.
type spelling struct {
	columns   []string
	relations map[string]bool
	// hidden says that columns are read which are not spelt out, or that the statement does more than read.
	hidden bool
}

func (s *spelling) relation(alias *pg_query.Alias, name string) {
	if s.relations == nil {
		s.relations = make(map[string]bool)
	}
	s.relations[name] = true
	if alias != nil {
		s.relations[alias.Aliasname] = true
	}
}

func (s *spelling) walk(m proto.Message) {
	switch n := m.(type) {
	case *pg_query.SelectStmt, *pg_query.ResTarget, *pg_query.List, *pg_query.A_Const:
	case *pg_query.IntoClause, *pg_query.InsertStmt, *pg_query.UpdateStmt, *pg_query.DeleteStmt, *pg_query.MergeStmt, *pg_query.A_Star:
		s.hidden = true
	case *pg_query.RangeVar:
		s.relation(n.Alias, n.Relname)
		s.hidden = s.hidden || len(n.Alias.GetColnames()) > 0
	case *pg_query.RangeSubselect:
		s.relation(n.Alias, "")
	case *pg_query.RangeFunction:
		s.relation(n.Alias, "")
	case *pg_query.RangeTableFunc:
		s.relation(n.Alias, "")
	case *pg_query.JsonTable:
		s.relation(n.Alias, "")
	case *pg_query.CommonTableExpr:
		s.relation(nil, n.Ctename)
	case *pg_query.JoinExpr:
		s.relation(n.Alias, n.JoinUsingAlias.GetAliasname())
		s.hidden = s.hidden || n.IsNatural || len(n.Alias.GetColnames()) > 0
		names, ok := stringsOf(n.UsingClause)
		s.columns = append(s.columns, names...)
		s.hidden = s.hidden || !ok
	case *pg_query.ColumnRef:
		fields, star := columnFields(n)
		s.hidden = s.hidden || star || len(fields) == 0
		if len(fields) > 0 {
			s.columns = append(s.columns, fields[len(fields)-1])
		}
	case *pg_query.A_Indirection: // (x).column, (x).*
		names, _ := stringsOf(n.Indirection)
		s.columns = append(s.columns, names...)
	case *pg_query.FuncCall: // f(x) is x.f where there is no function f
		if names, _ := stringsOf(n.Funcname); len(names) > 0 {
			s.columns = append(s.columns, names[len(names)-1])
		}
	}
	if !s.hidden {
		children(m, s.walk)
	}
}
