package wire

import (
	"slices"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
)

// meaning is what the unqualified names of a prepared statement have been found to mean. The server keeps the plan of a
// statement when a new relation comes to stand before the one that the plan reads (see sql.State.Earlier): from then
// on it is judged by both.
type meaning struct {
	// tables are those that it was last found to name; found says that it was.
	tables []policy.Table
	found  bool
	// changes is how often that changed; earlier are then all schemas that each name was found in.
	changes int
	earlier map[string][]string
	// planned says that a portal or cursor goes on with a plan made before what has changed.
	planned bool
	// held says that it is of a cursor WITH HOLD, whose rows were made when the catalogue was of epoch: they stay when
	// what they were read from is replaced by another of its name.
	held  bool
	epoch uint64
}

// temporarySchema is the session's own, as the recogniser names it.
const temporarySchema = "pg_temp"

// found notes what the commands of a prepared statement are about as of now.
func (c *Core) found(s *statement, commands []policy.Command) {
	tables := tablesOf(commands)
	if c.tempStale {
		tables = orAny(tables)
	}
	if !s.found {
		s.tables, s.found = tables, true
		return
	}
	if slices.EqualFunc(s.tables, tables, sameTable) {
		return
	}
	if s.earlier == nil {
		s.earlier = make(map[string][]string)
		s.meaning.keep(s.tables)
	}
	s.meaning.keep(tables)
	s.tables = tables
	s.changes++
	s.judged = nil
}

// outlived tells whether the rows are of before a change of the catalogue.
func (m *meaning) outlived(epoch uint64) bool { return m.held && m.epoch != epoch }

// maxEarlier bounds the schemas that are kept of one name; of more, it could be in any.
const maxEarlier = 32

func (m *meaning) keep(tables []policy.Table) {
	for i := range tables {
		t := &tables[i]
		for _, schema := range append([]string{t.Schema}, t.Candidates...) {
			before := m.earlier[t.Name]
			if len(before) >= maxEarlier {
				schema = ""
			}
			if !slices.Contains(before, schema) {
				m.earlier[t.Name] = append(before, schema)
			}
		}
	}
}

// tablesOf are all tables that the commands name.
func tablesOf(commands []policy.Command) []policy.Table {
	if len(commands) == 1 && commands[0].SQL != nil {
		return commands[0].SQL.Tables
	}
	var out []policy.Table
	for i := range commands {
		if commands[i].SQL != nil {
			out = append(out, commands[i].SQL.Tables...)
		}
	}
	return out
}

// orAny says of names that a temporary relation may have had that they could be in any schema: while the session's
// temporary relations are not known, there may be none.
func orAny(tables []policy.Table) []policy.Table {
	if !slices.ContainsFunc(tables, func(t policy.Table) bool { return t.Schema == temporarySchema && len(t.Candidates) > 0 }) {
		return tables
	}
	out := slices.Clone(tables)
	for i := range out {
		if out[i].Schema == temporarySchema && len(out[i].Candidates) > 0 {
			out[i].Candidates = append(slices.Clone(out[i].Candidates), "")
		}
	}
	return out
}

func sameTable(a, b policy.Table) bool {
	return a.Name == b.Name && a.Schema == b.Schema && slices.Equal(a.Candidates, b.Candidates)
}

// judgeEarlier judges a statement by all that its names have meant.
func (c *Core) judgeEarlier(s *statement, unsure bool) *judged {
	rules := c.rules()
	cat, epoch := c.catalogue()
	if unsure {
		cat = nil
	}
	state := c.state
	state.Earlier, state.Planned = s.earlier, s.planned
	j := c.understand(s.text, rules, cat, epoch, unsure, state)
	j.kept = !unsure && !c.touched && !c.altering && !j.verdict.Unevaluated
	return j
}

// bindings is how often the names of a portal's statements have changed their meaning.
func (p *portal) bindings() int {
	n := p.statement.changes
	for _, s := range p.named {
		if s != nil {
			n += s.changes
		}
	}
	return n
}

// planned has the statements of a portal judged as of now, and by all that they have meant if that has changed since
// the portal was bound.
func (c *Core) planned(p *portal) *judged {
	j := c.judgeStatement(p.statement)
	for _, s := range p.named {
		if s != nil {
			c.judgeStatement(s)
		}
	}
	if p.bindings() == p.changes {
		return j
	}
	p.statement.fix()
	for _, s := range p.named {
		if s != nil {
			s.fix()
		}
	}
	return c.judgeStatement(p.statement)
}

// fix says that a plan made before goes on.
func (s *statement) fix() {
	if !s.planned {
		s.planned, s.judged = true, nil
	}
}
