package sql

import (
	"strings"

	pg_query "github.com/pganalyze/pg_query_go/v6"
)

// copy walks a COPY. A rule that forbids reading or inserting has to see it, so that it is also judged as one.
func (r *recogniser) copy(n *pg_query.CopyStmt, at place) {
	b := at.b
	if n.IsFrom {
		b.sql.Via = at.through("INSERT")
	} else {
		b.sql.Via = at.through("SELECT")
		b.sql.ReadOnly = true
	}
	switch {
	case n.IsProgram:
		b.refuse("it runs a program on the server")
	case n.Filename != "":
		b.refuse("it names a file of the server; use STDIN or STDOUT")
	}
	at.names = &nameScope{}
	if n.Relation != nil {
		names := namesOf(r.relation(n.Relation, at, n.IsFrom))
		columns, _ := stringsOf(n.Attlist)
		for _, c := range columns {
			at.addColumns(names, c)
		}
		if len(columns) == 0 {
			at.addColumns(names, "")
		}
	}
	if n.Query != nil {
		at.names = nil
		r.node(unwrap(n.Query), at)
	}
	r.nodes([]*pg_query.Node{n.WhereClause}, at)
}

// copyDetails is what the wire needs of a COPY to or from the client (COPY in the server's manual).
func copyDetails(n *pg_query.CopyStmt) *Copy {
	c := &Copy{To: !n.IsFrom, Format: "text"}
	set := make(map[string]string)
	for _, o := range n.Options {
		d := o.GetDefElem()
		value, literal := constant(d.GetArg())
		if !literal {
			value = "true" // HEADER and FREEZE without a value
		}
		set[d.GetDefname()] = value
		if d.GetDefname() == "force_quote" {
			list, ok := stringsOf(d.GetArg().GetList().GetItems())
			c.ForceQuoteAll = !ok || d.GetArg().GetAStar() != nil
			c.ForceQuote = list
		}
	}
	if f := strings.ToLower(set["format"]); f != "" {
		c.Format = f
	}
	c.Encoding = set["encoding"]
	if on, known := parseBool(set["header"]); known && on || strings.EqualFold(set["header"], "match") {
		c.Header = true
	}
	switch c.Format {
	case "text":
		c.Delimiter, c.Null = "\t", `\N`
	case "csv":
		c.Delimiter, c.Quote = ",", `"`
	}
	override(&c.Delimiter, set, "delimiter")
	override(&c.Null, set, "null")
	override(&c.Quote, set, "quote")
	if c.Format == "csv" {
		c.Escape = c.Quote
	}
	override(&c.Escape, set, "escape")
	return c
}

func override(to *string, set map[string]string, name string) {
	if v, given := set[name]; given {
		*to = v
	}
}
