package sql_test

import (
	"math/rand"
	"strings"
)

// writer makes random queries over the tables of oracleSchema. Many are refused by the server for some reason;
// those that are not are as odd as an adversary's.
type writer struct {
	*rand.Rand
	// outputs are the column names of the query written last, as far as the writer knows them.
	outputs []string
	with    string
}

// level is one query level: the names in its FROM clause and their columns.
type level struct {
	aliases []string
	columns map[string][]string
	outer   *level
}

func (l *level) add(alias string, columns ...string) {
	if l.columns == nil {
		l.columns = make(map[string][]string)
	}
	l.aliases = append(l.aliases, alias)
	l.columns[alias] = columns
}

var oracleRelations = map[string][]string{
	"customers": {"id", "name", "card_number", "email"}, "orders": {"id", "customer_id", "total", "note"},
	"cv": {"id", "name", "c"}, "cv2": {"id", "name", "c"}, "cl": {"id", "uname", "l", "total"},
	"parent": {"id", "secret"}, "child": {"id", "secret"}, "pg_am": {"oid", "amname"},
}

var (
	oracleNames   = []string{"customers", "orders", "cv", "cv2", "cl", "parent", "child", "pg_am"}
	oracleColumns = []string{"id", "name", "card_number", "email", "total", "note", "c", "l", "secret", "x", "y", "upper"}
	oracleAliases = []string{"a", "b", "c", "customers", "orders", "t", "x"}
)

func (w *writer) pick(of ...string) string { return of[w.Intn(len(of))] }

func (w *writer) one(in int) bool { return w.Intn(in) == 0 }

// column writes a reference, mostly to something that is there.
func (w *writer) column(l *level) string {
	if len(l.aliases) == 0 || w.one(4) {
		return w.pick(oracleColumns...)
	}
	from := l
	if l.outer != nil && len(l.outer.aliases) > 0 && w.one(4) {
		from = l.outer
	}
	alias := w.pick(from.aliases...)
	if w.one(14) {
		return alias // a whole row
	}
	known := from.columns[alias]
	if len(known) == 0 || w.one(12) {
		known = oracleColumns
	}
	if w.one(4) {
		return w.pick(known...)
	}
	return alias + "." + w.pick(known...)
}

func (w *writer) expression(l *level, depth int) string {
	if depth <= 0 {
		return w.pick(w.column(l), w.column(l), w.column(l), w.column(l), w.pick("1", "'k'", "null"))
	}
	e := func() string { return w.expression(l, depth-1) }
	switch w.Intn(15) {
	case 0:
		return "upper(" + e() + "::text)"
	case 1:
		return "(" + e() + "::text || " + e() + "::text)"
	case 2:
		return "coalesce(" + e() + "::text, 'n')"
	case 3:
		return "case when " + w.condition(l, depth-1) + " then " + e() + "::text else 'e' end"
	case 4:
		return "(" + w.query(l, depth-1, 1) + " limit 1)"
	case 5:
		return "exists(" + w.query(l, depth-1, 0) + ")"
	case 6:
		return w.pick("max", "min", "count", "array_agg") + "(" + e() + "::text)"
	case 7:
		return "row_to_json(" + w.column(l) + ")"
	case 8:
		return "array(" + w.query(l, depth-1, 1) + ")"
	case 9:
		return "card_of(1)"
	case 10:
		return "count(*) over (order by " + w.column(l) + ")"
	case 11:
		return "(" + w.column(l) + ")." + w.pick(oracleColumns...)
	case 12:
		return w.column(l) + "::" + w.pick("text", "varchar", "varchar(3)")
	}
	return w.column(l)
}

func (w *writer) condition(l *level, depth int) string {
	switch w.Intn(6) {
	case 0:
		return w.expression(l, depth) + " is not null"
	case 1:
		return w.column(l) + "::text in (" + w.query(l, depth-1, 1) + ")"
	case 2:
		return w.expression(l, depth-1) + "::text like '%A%'"
	case 3:
		return "true"
	}
	return w.column(l) + " = " + w.pick("1", "2", "'ann'", w.column(l))
}

func (w *writer) from(l *level, depth int) string {
	kind := w.Intn(9)
	if depth <= 0 {
		kind = 0
	}
	alias := w.pick(oracleAliases...)
	switch kind {
	case 4, 5:
		text := w.pick("", "", "lateral ") + "(" + w.query(l, depth-1, 0) + ") " + alias
		l.add(alias, w.outputs...)
		if w.one(4) {
			l.add(alias, "x", "y")
			text += "(x, y)"
		}
		return text
	case 6, 7:
		left, right := w.from(l, depth-1), w.from(l, depth-1)
		switch w.Intn(5) {
		case 0:
			return "(" + left + " join " + right + " using (id))"
		case 1:
			return "(" + left + " natural join " + right + ")"
		case 2:
			text := "(" + left + " left join " + right + " on " + w.condition(l, depth-1) + ") " + alias
			l.add(alias)
			return text
		case 3:
			return "(" + left + " full join " + right + " using (id))"
		}
		return left + " cross join " + right
	case 8:
		l.add(alias)
		return w.pick("generate_series(1, 2) ", "unnest(array[1, 2]) ", "unnest(array['a']) with ordinality ") + alias
	}
	name := w.pick(oracleNames...)
	if w.with != "" && w.one(3) {
		name = w.with
	}
	qualified := name
	if w.one(3) {
		qualified = "public." + name
	}
	if w.one(2) {
		l.add(name, oracleRelations[name]...)
		return qualified
	}
	l.add(alias, oracleRelations[name]...)
	if w.one(5) {
		return qualified + " " + alias + w.pick("(x, y, z)", "(card_number, name, id)", "(email)")
	}
	return qualified + " " + alias
}

// query writes a query of n output columns, of some for 0.
func (w *writer) query(outer *level, depth, n int) string {
	if n == 0 {
		n = 1 + w.Intn(3)
	}
	if depth > 0 && w.one(9) {
		return w.query(outer, depth-1, n) + " " + w.pick("union all", "union", "except", "intersect") + " " + w.query(outer, depth-1, n)
	}
	l := &level{outer: outer}
	with := ""
	if depth > 0 && w.one(5) {
		name := w.pick("customers", "orders", "w")
		with = "with " + w.pick("", "recursive ") + name + w.pick("", "(x)", "(id, name)") + " as (" + w.query(outer, depth-1, 0) + ") "
		w.with = name
	}
	from := ""
	if !w.one(12) {
		from = " from " + w.from(l, depth)
		if w.one(3) {
			from += ", " + w.from(l, depth)
		}
	}
	var list, names []string
	for range n {
		switch {
		case n > 1 && w.one(8):
			list = append(list, "*")
		case n > 1 && len(l.aliases) > 0 && w.one(12):
			list = append(list, w.pick(l.aliases...)+".*")
		default:
			e := w.expression(l, depth)
			name := e[strings.LastIndexByte(e, '.')+1:]
			if w.one(3) {
				name = w.pick(oracleColumns...)
				e += " as " + name
			}
			list = append(list, e)
			if !strings.ContainsAny(name, "() :'") {
				names = append(names, name)
			}
		}
	}
	text := with + "select " + w.pick("", "", "", "distinct ") + strings.Join(list, ", ") + from
	if w.one(3) {
		text += " where " + w.condition(l, depth-1)
	}
	if w.one(10) {
		text += " group by " + w.column(l) + w.pick("", ", "+w.column(l))
	}
	w.outputs = names
	if with != "" {
		return "(" + text + ")"
	}
	return text
}
