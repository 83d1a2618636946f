package sql

import (
	pg_query "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/proto"
)

// objects walks the statements that name their objects by lists of words, where a walk through the tree would
// find no relation. It reports false for any other statement.
func (r *recogniser) objects(m proto.Message, at place) bool {
	switch n := m.(type) {
	case *pg_query.DropStmt:
		for _, o := range n.Objects {
			r.object(n.RemoveType, o, at)
		}
	case *pg_query.CommentStmt:
		r.object(n.Objtype, n.Object, at)
	case *pg_query.SecLabelStmt:
		r.object(n.Objtype, n.Object, at)
	case *pg_query.RenameStmt:
		r.refuseRenamed(n.Object, at)
		r.renamed(n.RenameType, n.Relation, n.Object, at)
		if n.RenameType == pg_query.ObjectType_OBJECT_SCHEMA {
			r.touch(at.b, everything(n.Subname), true)
		}
	case *pg_query.AlterObjectDependsStmt:
		r.renamed(n.ObjectType, n.Relation, n.Object, at)
	case *pg_query.AlterObjectSchemaStmt:
		r.refuseRenamed(n.Object, at)
		r.renamed(n.ObjectType, n.Relation, n.Object, at)
	case *pg_query.AlterOwnerStmt:
		r.renamed(n.ObjectType, n.Relation, n.Object, at)
	case *pg_query.AlterExtensionContentsStmt:
		at.b.sql.Opaque = true
		r.object(n.Objtype, n.Object, at)
	case *pg_query.GrantStmt:
		r.grant(n, at)
	case *pg_query.AlterDefaultPrivilegesStmt, *pg_query.DropOwnedStmt, *pg_query.ReassignOwnedStmt,
		*pg_query.AlterTableMoveAllStmt, *pg_query.ImportForeignSchemaStmt:
		r.touch(at.b, everything(""), true)
	case *pg_query.ReindexStmt:
		if n.Relation != nil {
			return false
		}
		r.touch(at.b, everything(map[bool]string{true: n.Name}[n.Kind == pg_query.ReindexObjectType_REINDEX_OBJECT_SCHEMA]), true)
	case *pg_query.ClusterStmt:
		if n.Relation != nil {
			return false
		}
		r.touch(at.b, everything(""), true)
	case *pg_query.VacuumStmt:
		if len(n.Rels) > 0 {
			return false
		}
		r.touch(at.b, everything(""), true)
	case *pg_query.CreatePublicationStmt:
		if !n.ForAllTables {
			return false
		}
		r.touch(at.b, everything(""), true)
	case *pg_query.AlterForeignServerStmt:
		r.serverFiles(n.Options, at.b)
	case *pg_query.AlterTableStmt:
		r.alterTable(n, at)
	case *pg_query.AlterSeqStmt:
		if n.Sequence != nil {
			r.node(n.Sequence, at)
		}
		r.ownedBy(n.Options, at)
	default:
		return false
	}
	return true
}

// renamed is an object given by its relation, or by name.
func (r *recogniser) renamed(t pg_query.ObjectType, rv *pg_query.RangeVar, object *pg_query.Node, at place) {
	if rv != nil {
		if t != pg_query.ObjectType_OBJECT_TYPE && t != pg_query.ObjectType_OBJECT_ATTRIBUTE {
			r.node(rv, at)
		}
		return
	}
	r.object(t, object, at)
}

// refuseRenamed refuses to give a function another name than the one by which nobody may use it.
func (r *recogniser) refuseRenamed(object *pg_query.Node, at place) {
	names, _ := stringsOf(object.GetObjectWithArgs().GetObjname())
	schema, name := relationOf(names)
	refuseFunction(at.b, name)
	refuseFunction(at.b, schema+"."+name)
}

// object notes the relations behind an object's name.
func (r *recogniser) object(t pg_query.ObjectType, object *pg_query.Node, at place) {
	if t == pg_query.ObjectType_OBJECT_SCHEMA {
		if name, ok := constant(object); ok {
			r.touch(at.b, everything(name), true)
		}
		return
	}
	var names []string
	switch x := object.GetNode().(type) {
	case *pg_query.Node_List:
		names, _ = stringsOf(x.List.GetItems())
	case *pg_query.Node_ObjectWithArgs:
		names, _ = stringsOf(x.ObjectWithArgs.GetObjname())
		if schema, name := relationOf(names); name != "" {
			if schema == "" {
				at.b.addFunction(name)
			} else {
				at.b.addFunction(dotted(schema, name))
			}
		}
		return
	}
	if nestedName(t) && len(names) > 1 {
		column := names[len(names)-1]
		names = names[:len(names)-1]
		if t == pg_query.ObjectType_OBJECT_COLUMN {
			schema, name := relationOf(names)
			at.addColumns(namesOf(r.st.table(schema, name)), column)
		}
	} else if !namesRelation(t) {
		return
	}
	if schema, name := relationOf(names); name != "" {
		r.touch(at.b, r.st.table(schema, name), true)
	}
}

// grant notes what rights are given on.
func (r *recogniser) grant(n *pg_query.GrantStmt, at place) {
	for _, o := range n.Objects {
		name, isName := constant(o)
		switch {
		case o.GetRangeVar() != nil:
			r.node(o.GetRangeVar(), at)
		case isName && n.Objtype == pg_query.ObjectType_OBJECT_SCHEMA && n.Targtype != pg_query.GrantTargetType_ACL_TARGET_ALL_IN_SCHEMA:
			// Rights on a schema let nobody see a relation in it: those that nobody may use are no reason to refuse.
			at.b.addTable(everything(name), true)
			at.b.writes()
		case isName && n.Targtype == pg_query.GrantTargetType_ACL_TARGET_ALL_IN_SCHEMA:
			r.touch(at.b, everything(name), true)
		case o.GetObjectWithArgs() != nil:
			r.object(pg_query.ObjectType_OBJECT_FUNCTION, o, at)
		}
	}
}

func (r *recogniser) alterTable(n *pg_query.AlterTableStmt, at place) {
	if n.Objtype != pg_query.ObjectType_OBJECT_TYPE && n.Relation != nil {
		r.node(n.Relation, at)
	}
	for _, c := range n.Cmds {
		cmd := c.GetAlterTableCmd()
		if options := cmd.GetDef().GetList(); options != nil {
			r.serverFiles(options.Items, at.b)
		}
		if cmd.GetSubtype() == pg_query.AlterTableType_AT_GenericOptions || cmd.GetDef() == nil {
			continue
		}
		// A referenced or inherited table is not changed, an attached partition is.
		inner := at
		inner.utility = cmd.GetSubtype() == pg_query.AlterTableType_AT_AttachPartition ||
			cmd.GetSubtype() == pg_query.AlterTableType_AT_DetachPartition
		r.nodes([]*pg_query.Node{cmd.Def}, inner)
	}
}

// ownedBy notes the table that a sequence is tied to.
func (r *recogniser) ownedBy(options []*pg_query.Node, at place) {
	for _, o := range options {
		d := o.GetDefElem()
		if d.GetDefname() != "owned_by" {
			continue
		}
		names, ok := stringsOf(d.GetArg().GetList().GetItems())
		if !ok || len(names) < 2 {
			continue // OWNED BY NONE
		}
		schema, name := relationOf(names[:len(names)-1])
		r.touch(at.b, r.st.table(schema, name), true)
	}
}
