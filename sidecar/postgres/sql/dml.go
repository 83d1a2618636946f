package sql

import (
	pg_query "github.com/pganalyze/pg_query_go/v6"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
)

// assignments walks the targets of an UPDATE or an INSERT's conflict action: the columns set belong to target.
func (r *recogniser) assignments(list []*pg_query.Node, target []RelationName, at place) {
	for _, n := range list {
		res := n.GetResTarget()
		if res == nil {
			r.nodes([]*pg_query.Node{n}, at)
			continue
		}
		at.addColumns(target, res.Name)
		r.nodes(res.Indirection, at)
		r.nodes([]*pg_query.Node{res.Val}, at)
	}
}

// target notes the table that a statement changes. It is never a CTE.
func (r *recogniser) target(rv *pg_query.RangeVar, at place) policy.Table {
	if rv == nil {
		return policy.Table{}
	}
	return r.relation(rv, at, true)
}

func (r *recogniser) insert(s *pg_query.InsertStmt, at place) {
	at.ctes = r.with(s.WithClause, at)
	outer := at.names
	at.names = &nameScope{outer: outer}
	table := r.target(s.Relation, at)
	target := namesOf(table)
	if len(s.Cols) == 0 {
		at.addColumns(target, "")
	}
	r.assignments(s.Cols, target, at)
	if source := s.SelectStmt.GetSelectStmt(); source != nil {
		from := at
		from.names = outer // the target is not visible in the source
		if isValues(source) {
			r.query(source, from)
		} else {
			r.node(source, from)
		}
	}
	if c := s.OnConflictClause; c != nil {
		r.conflict(c, table, at)
	}
	r.nodes(s.ReturningList, at)
}

// isValues reports whether a query is nothing but a VALUES list, which reads no table by itself.
func isValues(s *pg_query.SelectStmt) bool {
	return len(s.ValuesLists) > 0 && len(s.FromClause) == 0 && s.WithClause == nil &&
		(s.Op == pg_query.SetOperation_SETOP_NONE || s.Op == pg_query.SetOperation_SET_OPERATION_UNDEFINED)
}

// conflict walks ON CONFLICT. DO UPDATE is an UPDATE of the same table, which needs that right from the server
// too, and never an unfiltered one: it changes the rows that the insert collides with.
func (r *recogniser) conflict(c *pg_query.OnConflictClause, table policy.Table, at place) {
	if c.Infer != nil {
		r.node(c.Infer, at)
	}
	if len(c.TargetList) == 0 {
		return
	}
	inner := at
	inner.b = r.begin("UPDATE", at.through("INSERT"))
	inner.b.outer = at.b
	r.touch(inner.b, table, true)
	target := namesOf(table)
	inner.names = &nameScope{relations: append([]source{{alias: "excluded", tables: target}}, at.names.relations...), outer: at.names.outer}
	r.assignments(c.TargetList, target, inner)
	r.nodes([]*pg_query.Node{c.WhereClause}, inner)
}

func (r *recogniser) update(s *pg_query.UpdateStmt, at place) {
	at.ctes = r.with(s.WithClause, at)
	at.names = &nameScope{outer: at.names}
	target := namesOf(r.target(s.Relation, at))
	for _, n := range s.FromClause {
		r.from(unwrap(n), at)
	}
	r.assignments(s.TargetList, target, at)
	r.nodes([]*pg_query.Node{s.WhereClause}, at)
	r.nodes(s.ReturningList, at)
	at.b.sql.Unfiltered = unfiltered(s.WhereClause, s.Relation, len(s.FromClause) > 0)
	r.literal = r.literal || !plainFilter(s.WhereClause, s.Relation, len(s.FromClause) > 0)
}

func (r *recogniser) delete(s *pg_query.DeleteStmt, at place) {
	at.ctes = r.with(s.WithClause, at)
	at.names = &nameScope{outer: at.names}
	r.target(s.Relation, at)
	for _, n := range s.UsingClause {
		r.from(unwrap(n), at)
	}
	r.nodes([]*pg_query.Node{s.WhereClause}, at)
	r.nodes(s.ReturningList, at)
	at.b.sql.Unfiltered = unfiltered(s.WhereClause, s.Relation, len(s.UsingClause) > 0)
	r.literal = r.literal || !plainFilter(s.WhereClause, s.Relation, len(s.UsingClause) > 0)
}

// merge walks a MERGE. Each of its actions is a command of its own beside it, because the server asks for the
// same rights: a rule against DELETE has to see WHEN MATCHED THEN DELETE.
func (r *recogniser) merge(s *pg_query.MergeStmt, at place) {
	at.ctes = r.with(s.WithClause, at)
	at.names = &nameScope{outer: at.names}
	r.literal = true
	table := r.target(s.Relation, at)
	target := namesOf(table)
	r.from(unwrap(s.SourceRelation), at)
	r.nodes([]*pg_query.Node{s.JoinCondition}, at)
	actions := make(map[string]*builder)
	for _, n := range s.MergeWhenClauses {
		w := n.GetMergeWhenClause()
		if w == nil {
			r.nodes([]*pg_query.Node{n}, at)
			continue
		}
		inner := at
		verb := mergeVerbs[w.CommandType]
		if verb != "" {
			if actions[verb] == nil {
				actions[verb] = r.begin(verb, at.through("MERGE"))
				actions[verb].outer = at.b
				r.touch(actions[verb], table, true)
			}
			inner.b = actions[verb]
		}
		if verb == "UPDATE" || verb == "DELETE" {
			inner.b.sql.Unfiltered = inner.b.sql.Unfiltered || mergeUnfiltered(s, w)
		}
		r.nodes([]*pg_query.Node{w.Condition}, inner)
		r.assignments(w.TargetList, target, inner)
		r.nodes(w.Values, inner)
	}
	r.nodes(s.ReturningList, at)
}

var mergeVerbs = map[pg_query.CmdType]string{
	pg_query.CmdType_CMD_INSERT: "INSERT",
	pg_query.CmdType_CMD_UPDATE: "UPDATE",
	pg_query.CmdType_CMD_DELETE: "DELETE",
}

// mergeUnfiltered: rows matched by a join that looks at the target are a choice, all others are not.
func mergeUnfiltered(s *pg_query.MergeStmt, w *pg_query.MergeWhenClause) bool {
	if w.Condition != nil && !unfiltered(w.Condition, s.Relation, true) {
		return false
	}
	if w.MatchKind != pg_query.MergeMatchKind_MERGE_WHEN_MATCHED {
		return true
	}
	return unfiltered(s.JoinCondition, s.Relation, true)
}
