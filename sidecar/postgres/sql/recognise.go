package sql

import (
	"strings"

	pg_query "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/proto"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
)

// recogniser says what one top-level statement does.
type recogniser struct {
	st     State
	built  []*builder
	effort effort
	// lone is a call of set_config that the wire follows like a SET.
	lone *pg_query.FuncCall
	// root is the whole statement.
	root proto.Message
	// mentioned is the last word of a definition.
	mentioned string
	// literal is set where what is said of the statement hangs on the value of a constant.
	literal bool
}

// recognise describes a statement of the query string, and says whether that holds whatever its constants are.
func recognise(t tree, query string, st State) (s Statement, blind bool) {
	start, end := t.start, t.end
	for start < end && isSpace(query[start]) {
		start++
	}
	for end > start && isSpace(query[end-1]) {
		end--
	}
	text := query[start:end]
	m := unwrap(t.root)
	r := &recogniser{st: st, root: m}
	s = describe(m, st)
	if s.Kind == KindQuery && s.Setting != nil {
		r.lone = onlyCall(m.(*pg_query.SelectStmt))
	}
	r.statement(m, place{})
	s.Text, s.Start, s.End, s.node, s.st = text, start, end, t, st
	s.Commands = r.commands(text, fingerprint(text))
	if s.Inner != nil {
		s.Inner.Text, s.Inner.Start, s.Inner.End, s.Inner.Commands = text, start, end, s.Commands
	}
	switch m.(type) {
	case *pg_query.SelectStmt, *pg_query.InsertStmt, *pg_query.UpdateStmt, *pg_query.DeleteStmt:
		blind = !r.literal
	}
	return s, blind
}

// isSpace is the lexer's white space (scan.l, `space`).
func isSpace(c byte) bool {
	switch c {
	case ' ', '\t', '\n', '\r', '\f', '\v':
		return true
	}
	return false
}

func (r *recogniser) commands(text, print string) []policy.Command {
	out := make([]policy.Command, len(r.built))
	for i, b := range r.built {
		out[i] = policy.Command{Protocol: policy.ProtocolPostgres, Text: text}
		if b.sql.Command == "" {
			out[i].Unrecognised = "a statement of an unknown kind"
			continue
		}
		if r.effort.over && len(b.sql.Guarded) > 0 && b.sql.Refused == "" {
			b.sql.Refused = b.sql.Guarded[0].Why // no exemption is for what is not known
		}
		if r.effort.over && b.sql.Refused == "" { // what nobody may do, nobody is asked for
			out[i].Unrecognised = "the statement is too intricate: too many names in too many relations"
			continue
		}
		b.sql.Fingerprint = print
		sql := b.sql
		out[i].SQL = &sql
	}
	return out
}

// begin opens a command. One of an unknown tag makes the statement unrecognised.
func (r *recogniser) begin(tag string, via []string) *builder {
	b := &builder{sql: policy.SQL{Command: tag, Via: via}, effort: &r.effort}
	r.built = append(r.built, b)
	return b
}

// touch notes a relation and refuses those that nobody may use.
func (r *recogniser) touch(b *builder, t policy.Table, write bool) {
	b.addTable(t, write)
	if write {
		b.writes()
	}
	if maintains[b.sql.Command] {
		return
	}
	names := namesOf(t)
	for _, n := range names {
		r.refuseRelation(b, n)
		if n.Schema == schemaToast || strings.HasPrefix(n.Schema, schemaToast+"_") {
			b.refuse(n.Schema + "." + n.Name + " is the raw storage of another table")
		}
		// A table of the user's may be called pg_something, and an unqualified name that no catalogue has is one's.
		user := len(names) > 1 && n.Schema == schemaCatalog && !systemRelations[n.Name]
		if write && changesRows[b.sql.Command] && !user && (n.Schema == schemaCatalog || n.Schema == schemaInformation) {
			b.refuse(n.Schema + "." + n.Name + " is a system catalogue, which no statement may change directly")
		}
	}
}

// maintains are the commands that keep a table in order and show nothing of its rows.
var maintains = words(`VACUUM ANALYZE REINDEX CLUSTER`)

// changesRows are the commands that change a table's rows directly.
var changesRows = map[string]bool{
	"INSERT": true, "UPDATE": true, "DELETE": true, "MERGE": true, "COPY FROM": true, "TRUNCATE TABLE": true,
}

// node walks anything inside a statement.
func (r *recogniser) node(m proto.Message, at place) {
	switch n := m.(type) {
	case *pg_query.SelectStmt:
		at.utility, at.into = false, false
		at.b = r.reading(n, at)
		r.query(n, at)
	case *pg_query.InsertStmt, *pg_query.UpdateStmt, *pg_query.DeleteStmt, *pg_query.MergeStmt:
		// A data-modifying query in a WITH or in COPY: it runs whatever the outer statement does.
		at.b.writes()
		at.utility = false
		r.statement(m, at)
	case *pg_query.RangeVar:
		if at.names == nil {
			at.names = &nameScope{}
		}
		r.relation(n, at, at.utility)
	case *pg_query.ColumnRef:
		fields, star := columnFields(n)
		r.columnRef(at, fields, star)
	case *pg_query.FuncCall:
		r.call(n, at)
	case *pg_query.A_Indirection:
		for _, i := range n.Indirection {
			if name := i.GetString_().GetSval(); name != "" {
				r.attribute(name, at.b)
			}
		}
		children(m, func(c proto.Message) { r.node(c, at) })
	case *pg_query.LockingClause:
		// FOR UPDATE OF names aliases of this query, no further tables.
	case *pg_query.String:
		if at.definer {
			r.mention(n.Sval, at.b)
		}
	case *pg_query.CreateStmt, *pg_query.IndexStmt, *pg_query.ViewStmt, *pg_query.CreateSeqStmt, *pg_query.GrantStmt,
		*pg_query.CreateTrigStmt, *pg_query.ExecuteStmt:
		r.statement(m, at)
	default:
		children(m, func(c proto.Message) { r.node(c, at) })
	}
}

// reading returns the command that a query inside at.b belongs to: at.b where it is a SELECT itself, else a
// SELECT of its own beside it.
func (r *recogniser) reading(s *pg_query.SelectStmt, at place) *builder {
	if strings.HasPrefix(at.b.sql.Command, "SELECT") {
		return at.b
	}
	if at.b.reads == nil {
		b := r.begin(selectTag(s), at.through(at.b.sql.Command))
		b.sql.ReadOnly = true
		b.outer = at.b
		at.b.reads = b
	}
	return at.b.reads
}

// columnFields returns the names of a column reference and whether it ends in a star.
func columnFields(n *pg_query.ColumnRef) (fields []string, star bool) {
	for _, f := range n.Fields {
		switch x := f.GetNode().(type) {
		case *pg_query.Node_String_:
			fields = append(fields, x.String_.GetSval())
		case *pg_query.Node_AStar:
			star = true
		}
	}
	return fields, star
}
