package sql

import (
	pg_query "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// children calls f for every node directly below m, whatever its type: what this package does not know it still
// walks through, so that nothing can hide in a corner of the grammar.
func children(m proto.Message, f func(proto.Message)) {
	m.ProtoReflect().Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case fd.Message() == nil:
		case fd.IsList():
			list := v.List()
			for i := range list.Len() {
				f(unwrap(list.Get(i).Message().Interface()))
			}
		default:
			f(unwrap(v.Message().Interface()))
		}
		return true
	})
}

// unwrap takes the node out of the protobuf's Node envelope. An empty envelope stays what it is.
func unwrap(m proto.Message) proto.Message {
	if n, ok := m.(*pg_query.Node); ok {
		if inner := inside(n); inner != nil {
			return inner
		}
	}
	return m
}

// inside returns what a Node holds, or nil. The types that statements are mostly made of are spelt out, because
// reflection costs ten times as much.
func inside(n *pg_query.Node) proto.Message {
	switch x := n.GetNode().(type) {
	case nil:
		return nil
	case *pg_query.Node_ColumnRef:
		return x.ColumnRef
	case *pg_query.Node_AConst:
		return x.AConst
	case *pg_query.Node_AExpr:
		return x.AExpr
	case *pg_query.Node_ResTarget:
		return x.ResTarget
	case *pg_query.Node_RangeVar:
		return x.RangeVar
	case *pg_query.Node_FuncCall:
		return x.FuncCall
	case *pg_query.Node_String_:
		return x.String_
	case *pg_query.Node_List:
		return x.List
	case *pg_query.Node_ParamRef:
		return x.ParamRef
	case *pg_query.Node_BoolExpr:
		return x.BoolExpr
	case *pg_query.Node_TypeCast:
		return x.TypeCast
	case *pg_query.Node_SelectStmt:
		return x.SelectStmt
	}
	var inner proto.Message
	n.ProtoReflect().Range(func(_ protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		inner = v.Message().Interface()
		return false
	})
	return inner
}
