package sql

import (
	"strings"

	pg_query "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/proto"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
)

// utility walks a statement that is not a query. Relations met in it are taken as changed unless the grammar
// says that they are only referred to.
func (r *recogniser) utility(m proto.Message, at place) {
	at.utility = true
	switch n := m.(type) {
	case *pg_query.TransactionStmt:
		// Two-phase commit ends or keeps what others may have prepared.
		single := !strings.Contains(at.b.sql.Command, "PREPARE")
		at.b.sql.ReadOnly, at.b.sql.Control = single, single
	case *pg_query.VariableShowStmt, *pg_query.DiscardStmt, *pg_query.DeallocateStmt, *pg_query.FetchStmt,
		*pg_query.ClosePortalStmt, *pg_query.UnlistenStmt, *pg_query.ConstraintsSetStmt:
		at.b.sql.ReadOnly, at.b.sql.Control = true, true
	case *pg_query.ExecuteStmt:
		// What runs was judged when it was prepared, and the wire judges it again.
		at.b.sql.Control = true
		at.utility = false
		at.names = nil
		r.nodes(n.Params, at)
	case *pg_query.TruncateStmt:
		// Who may not delete, or not everything, may not truncate either.
		at.b.sql.Via, at.b.sql.Unfiltered = at.through("DELETE"), true
		r.nodes(n.Relations, at)
	case *pg_query.CreateStmt:
		r.create(n, at)
	case *pg_query.CreateForeignTableStmt:
		r.create(n.BaseStmt, at)
		r.serverFiles(n.Options, at.b)
	case *pg_query.CreateSeqStmt:
		r.touch(at.b, r.st.created(n.Sequence), true)
		r.nodes(n.Options, at)
	case *pg_query.CompositeTypeStmt:
		r.nodes(n.Coldeflist, at)
	case *pg_query.DoStmt:
		at.b.sql.Opaque = true
		r.language(n.Args, at.b)
	case *pg_query.CallStmt:
		at.b.sql.Opaque = true
		r.node(n.Funccall, at)
	case *pg_query.CreateFunctionStmt:
		at.b.sql.Opaque = true
		r.language(n.Options, at.b)
		at.utility = false
		children(n, func(c proto.Message) { r.node(c, at) })
	case *pg_query.CreateExtensionStmt, *pg_query.AlterExtensionStmt, *pg_query.CreatePLangStmt:
		// An extension's script, a language's handler.
		at.b.sql.Opaque = true
	case *pg_query.LoadStmt:
		at.b.refuse("it loads a file of the server into it")
	case *pg_query.CreateTableSpaceStmt:
		at.b.refuse("it names a directory of the server")
	case *pg_query.AlterSystemStmt:
		at.b.refuse("it changes the server's configuration file")
	case *pg_query.CreateSubscriptionStmt, *pg_query.AlterSubscriptionStmt, *pg_query.DropSubscriptionStmt:
		at.b.refuse("it belongs to replication")
	case *pg_query.AlterRoleSetStmt:
		r.laterSetting(n.Setstmt, at.b)
	case *pg_query.AlterDatabaseSetStmt:
		r.laterSetting(n.Setstmt, at.b)
	case *pg_query.CreateTrigStmt, *pg_query.CreateCastStmt, *pg_query.CreateOpClassStmt, *pg_query.AlterOpFamilyStmt,
		*pg_query.CreateEventTrigStmt, *pg_query.CreateConversionStmt, *pg_query.CreateTransformStmt, *pg_query.CreateFdwStmt,
		*pg_query.AlterFdwStmt, *pg_query.CreateAmStmt, *pg_query.AlterOperatorStmt, *pg_query.AlterTypeStmt,
		*pg_query.CreateRangeStmt, *pg_query.DefineStmt:
		at.definer = true
		children(m, func(c proto.Message) { r.node(c, at) })
	default:
		if !r.objects(m, at) {
			children(m, func(c proto.Message) { r.node(c, at) })
		}
	}
}

// create walks CREATE TABLE: parents, LIKE and REFERENCES name tables that it does not change.
func (r *recogniser) create(n *pg_query.CreateStmt, at place) {
	r.touch(at.b, r.st.created(n.Relation), true)
	at.utility = false
	r.nodes(n.TableElts, at)
	r.nodes(n.InhRelations, at)
	r.nodes(n.Constraints, at)
	r.nodes(n.Options, at)
	if n.Partbound != nil {
		r.node(n.Partbound, at)
	}
	if n.Partspec != nil {
		r.node(n.Partspec, at)
	}
}

// language refuses code that would run with the server's own rights.
func (r *recogniser) language(options []*pg_query.Node, b *builder) {
	for _, o := range options {
		d := o.GetDefElem()
		if d.GetDefname() != "language" {
			continue
		}
		if name, ok := constant(d.Arg); ok && untrustedLanguages[strings.ToLower(name)] {
			b.refuse("language " + name + " runs with the server's own rights")
		}
	}
}

// serverFiles refuses foreign tables over files and programs of the server (file_fdw).
func (r *recogniser) serverFiles(options []*pg_query.Node, b *builder) {
	for _, o := range options {
		switch name := o.GetDefElem().GetDefname(); name {
		case "filename", "program":
			b.refuse("option " + name + " reaches files or programs of the server")
		}
	}
}

// laterSetting judges what ALTER ROLE and ALTER DATABASE set for later sessions.
func (r *recogniser) laterSetting(n *pg_query.VariableSetStmt, b *builder) {
	if why := refusedSetting(n); why != "" {
		b.refuse(why)
	}
}

// everything stands for all relations of a schema; of all schemas where that is unknown.
func everything(schema string) policy.Table {
	return policy.Table{Schema: schema, Name: policy.Unknown}
}
