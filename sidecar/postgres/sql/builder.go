package sql

import (
	"slices"
	"strings"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
)

// builder collects what one command touches. A SELECT inside another command is a command of its own whose
// objects are the outer one's too: a rule that permits the outer has to cover them.
type builder struct {
	sql       policy.SQL
	effort    *effort
	outer     *builder
	reads     *builder // the SELECT inside this command, where there is one
	tables    map[tableKey]int
	columns   map[string]bool
	functions map[string]bool
}

// effort counts what naming the columns of a statement takes: every bare name could be a column of every relation.
type effort struct {
	looked int
	over   bool
}

// Bounds for one statement, over which it is not recognised: less than a second of work, and some 2 MiB of names.
const (
	maxLooked  = 1_000_000
	maxColumns = 20_000
)

// look counts that a name is looked for in n relations. It is false when there was too much, and then what is known
// of the statement is not all.
func (e *effort) look(n int) bool {
	if e.looked += n; e.looked > maxLooked {
		e.over = true
	}
	return !e.over
}

type tableKey struct {
	schema, name, candidates string
}

func (b *builder) addTable(t policy.Table, write bool) {
	for ; b != nil; b = b.outer {
		key := tableKey{t.Schema, t.Name, strings.Join(t.Candidates, "\x00")}
		if i, known := b.tables[key]; known {
			b.sql.Tables[i].Write = b.sql.Tables[i].Write || write
			continue
		}
		if b.tables == nil {
			b.tables = make(map[tableKey]int)
		}
		b.tables[key] = len(b.sql.Tables)
		t.Write = write
		b.sql.Tables = append(b.sql.Tables, t)
	}
}

func (b *builder) addColumn(name string) {
	for ; b != nil && b.effort.look(1); b = b.outer {
		if b.columns == nil {
			b.columns = make(map[string]bool)
		}
		if len(b.columns) >= maxColumns {
			b.effort.over = true
			return
		}
		if !b.columns[name] {
			b.columns[name] = true
			b.sql.Columns = append(b.sql.Columns, name)
		}
	}
}

func (b *builder) addFunction(name string) {
	for ; b != nil; b = b.outer {
		if b.functions == nil {
			b.functions = make(map[string]bool)
		}
		if !b.functions[name] {
			b.functions[name] = true
			b.sql.Functions = append(b.sql.Functions, name)
		}
	}
}

// refuse notes why the command is never forwarded; the first reason stays.
func (b *builder) refuse(why string) {
	if b.sql.Refused == "" {
		b.sql.Refused = why
	}
}

// guard notes that a group of the list is why the command is not forwarded.
func (b *builder) guard(g *Group, what string) {
	why := what + " may not be used: " + g.Why
	if !g.Name.Exemptible() {
		b.refuse(why)
		return
	}
	if !slices.ContainsFunc(b.sql.Guarded, func(o policy.Guard) bool { return o.Group == g.Name }) {
		b.sql.Guarded = append(b.sql.Guarded, policy.Guard{Group: g.Name, Why: why})
	}
}

func (b *builder) addMention(name string) {
	if !slices.Contains(b.sql.Mentions, name) {
		b.sql.Mentions = append(b.sql.Mentions, name)
	}
}

// writes notes that the command does more than read.
func (b *builder) writes() {
	for ; b != nil; b = b.outer {
		b.sql.ReadOnly = false
	}
}
