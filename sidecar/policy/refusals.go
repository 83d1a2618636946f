package policy

import (
	"fmt"
	"slices"
)

// RefusalGroup names a part of the list of functions and relations of PostgreSQL that are refused whatever the rules
// say (docs/refusals.md).
type RefusalGroup string

const (
	RefuseSQLText       RefusalGroup = "SQLText"
	RefuseNamedTables   RefusalGroup = "NamedTables"
	RefuseServerFiles   RefusalGroup = "ServerFiles"
	RefuseRawStorage    RefusalGroup = "RawStorage"
	RefusePasswords     RefusalGroup = "Passwords"
	RefuseReplication   RefusalGroup = "Replication"
	RefuseServerControl RefusalGroup = "ServerControl"
	RefuseSessions      RefusalGroup = "Sessions"
	RefuseStatistics    RefusalGroup = "Statistics"
	RefuseConnections   RefusalGroup = "Connections"
)

// exemptible are the groups that a policy may leave to its rules: what they do can be judged by the function's name.
// The others run, read or write what no rule could see.
var exemptible = []RefusalGroup{RefuseServerControl, RefuseSessions, RefuseStatistics, RefuseConnections}

// Exemptible tells whether a policy may leave the group to its rules.
func (g RefusalGroup) Exemptible() bool { return slices.Contains(exemptible, g) }

// Refusals is what a policy adds to the list, and takes from it.
type Refusals struct {
	Functions []string       `json:"functions,omitempty"` // schema.function or function globs
	Tables    []string       `json:"tables,omitempty"`    // schema.table globs
	Exempt    []RefusalGroup `json:"exempt,omitempty"`    // groups that are left to the rules
}

// compiledRefusals is Refusals ready to decide.
type compiledRefusals struct {
	doc *Refusals
	// functions and tables compare as in a rule that forbids.
	functions, tables compiledRule
}

func compileRefusals(doc *Refusals) (compiledRefusals, error) {
	c := compiledRefusals{doc: doc}
	for _, g := range doc.Exempt {
		if !g.Exemptible() {
			return c, fmt.Errorf("postgres.refusals.exempt: %q is not one of %v", g, exemptible)
		}
	}
	var err error
	if c.functions.functions, err = compileGlobs("postgres.refusals.functions", doc.Functions, 2); err != nil {
		return c, err
	}
	c.tables.tables, err = compileGlobs("postgres.refusals.tables", doc.Tables, 2)
	return c, err
}

// refuses says why a statement is refused before any rule is asked, and by which built-in rule; empty where it is not.
func (c *compiledRefusals) refuses(s *SQL) (rule, why string) {
	for _, g := range s.Guarded {
		if !slices.Contains(c.doc.Exempt, g.Group) {
			return RuleBuiltin, fmt.Sprintf("%s (group %s, which a policy can exempt)", g.Why, g.Group)
		}
	}
	if len(c.functions.functions) > 0 {
		for _, names := range [][]string{s.Functions, s.Mentions} {
			for _, name := range names {
				if c.functions.matchDotted(c.functions.functions, name, 2) {
					return RuleRefusals, "function " + name + " may not be used"
				}
			}
		}
	}
	if len(c.tables.tables) > 0 {
		for i := range s.Tables {
			if t := &s.Tables[i]; c.tables.matchTable(t) {
				return RuleRefusals, t.what() + " may not be used"
			}
		}
	}
	return "", ""
}

// what is the table's name for people.
func (t *Table) what() string {
	if t.Schema == "" {
		return t.Name
	}
	return t.Schema + "." + t.Name
}
