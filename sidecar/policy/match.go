package policy

import (
	"errors"
	"fmt"
	"strings"
)

// compiledRule is a Rule with its patterns ready.
type compiledRule struct {
	doc        *Rule
	permits    bool // an Allow rule has to cover the whole command, any other needs one reason
	commands   []string
	tables     []glob
	columns    []glob
	functions  []glob
	unfiltered *bool
	argv       argvRule
	ssh        sshRule
	when       Condition
}

func compileRule(protocol Protocol, doc *Rule) (compiledRule, error) {
	r := compiledRule{doc: doc, permits: doc.Action == Allow, unfiltered: doc.Match.Unfiltered}
	if doc.Name == "" {
		return r, errors.New("name: must not be empty")
	}
	if builtinRules[doc.Name] {
		return r, fmt.Errorf("name: %q is the name of a built-in verdict", doc.Name)
	}
	switch doc.Action {
	case Allow, Deny, RequireApproval:
	default:
		return r, fmt.Errorf("action: %q is not one of %s, %s, %s", doc.Action, Deny, RequireApproval, Allow)
	}
	if doc.Action == RequireApproval && doc.Approval != nil && doc.Approval.Required < 1 {
		return r, fmt.Errorf("approval.required: %d people cannot approve anything; at least 1 is needed", doc.Approval.Required)
	}
	if err := doc.Match.checkProtocol(protocol); err != nil {
		return r, err
	}
	if err := doc.Match.checkKubernetes(); err != nil {
		return r, err
	}
	for _, c := range doc.Match.Commands {
		tag := strings.Join(strings.Fields(strings.ToUpper(c)), " ")
		if tag == "" {
			return r, errors.New("match.commands: an empty command matches nothing")
		}
		r.commands = append(r.commands, tag)
	}
	var err error
	if r.tables, err = compileGlobs("match.tables", doc.Match.Tables, 2); err != nil {
		return r, err
	}
	if r.columns, err = compileGlobs("match.columns", doc.Match.Columns, 3); err != nil {
		return r, err
	}
	if r.functions, err = compileGlobs("match.functions", doc.Match.Functions, 2); err != nil {
		return r, err
	}
	if r.argv, err = compileArgv(&doc.Match); err != nil {
		return r, err
	}
	if r.ssh, err = compileSSH(&doc.Match); err != nil {
		return r, err
	}
	if doc.When != "" {
		if r.when, err = compileCondition(protocol, doc.When); err != nil {
			return r, fmt.Errorf("when: %w", err)
		}
	}
	return r, nil
}

func compileGlobs(field string, texts []string, n int) ([]glob, error) {
	var out []glob
	for _, text := range texts {
		g, err := compileGlob(text, n)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", field, err)
		}
		out = append(out, g)
	}
	return out, nil
}

// match reports whether the rule is for the command, which is of the rule's protocol. An error is a condition that
// could not be evaluated.
func (r *compiledRule) match(cmd *Command) (bool, error) {
	var matched bool
	switch cmd.of() {
	case ProtocolPostgres:
		if cmd.SQL.Opaque && !r.permits {
			return true, nil
		}
		matched = r.matchSQL(cmd.SQL)
	case ProtocolSSH:
		matched = r.matchSSH(cmd.SSH)
	case ProtocolKubernetes:
		matched = r.matchKubernetes(cmd.Kubernetes)
	}
	if matched && r.when != nil && !(cmd.SSH != nil && cmd.SSH.startsSFTP()) {
		return r.when.Eval(*cmd)
	}
	return matched, nil
}

// matchSQL reports whether what the rule says of statements holds for this one.
//
// An opaque statement could do anything: a rule that forbids matches it whatever it forbids, a rule that permits
// only if it asks nothing about what the statement touches, or names the functions that it calls.
func (r *compiledRule) matchSQL(s *SQL) bool {
	if len(r.commands) > 0 && !r.matchCommand(s) {
		return false
	}
	if s.Opaque && (len(r.tables) > 0 || len(r.columns) > 0 || r.unfiltered != nil || len(r.functions) > 0 && len(s.Functions) == 0) {
		return false
	}
	if r.unfiltered != nil && *r.unfiltered != s.Unfiltered {
		return false
	}
	if len(r.tables) > 0 && !r.matchTables(s.Tables) {
		return false
	}
	if len(r.columns) > 0 && !r.matchNames(r.columns, s.Columns, 3) {
		return false
	}
	if len(r.functions) > 0 && !r.matchNames(r.functions, s.Functions, 2) {
		return false
	}
	return true
}

// matchCommand compares the tag, or its first word. A rule that forbids also looks at the statements that this
// one is wrapped in.
func (r *compiledRule) matchCommand(s *SQL) bool {
	for _, c := range r.commands {
		if isCommand(c, s.Command) {
			return true
		}
		if r.permits {
			continue
		}
		for _, via := range s.Via {
			if isCommand(c, via) {
				return true
			}
		}
	}
	return false
}

func isCommand(pattern, tag string) bool {
	return strings.HasPrefix(tag, pattern) && (len(tag) == len(pattern) || tag[len(pattern)] == ' ' && strings.IndexByte(pattern, ' ') < 0)
}

func (r *compiledRule) matchTables(tables []Table) bool {
	for i := range tables {
		if r.matchTable(&tables[i]) != r.permits {
			return !r.permits
		}
	}
	// Nothing to cover, or nothing that is forbidden.
	return r.permits
}

// matchTable: for a rule that permits, every schema that the table could be in has to be covered; for a rule
// that forbids, one is enough.
func (r *compiledRule) matchTable(t *Table) bool {
	if r.matchName(r.tables, t.Schema, t.Name) != r.permits {
		return !r.permits
	}
	for _, schema := range t.Candidates {
		if r.matchName(r.tables, schema, t.Name) != r.permits {
			return !r.permits
		}
	}
	return r.permits
}

func (r *compiledRule) matchName(globs []glob, schema, name string) bool {
	for i := range globs {
		p := globs[i].parts
		if r.permits && covers(p[0], schema) && covers(p[1], name) {
			return true
		}
		if !r.permits && touches(p[0], schema) && touches(p[1], name) {
			return true
		}
	}
	return false
}

// matchNames compares dotted names of at most n parts; the parts that a name lacks are unknown.
func (r *compiledRule) matchNames(globs []glob, names []string, n int) bool {
	for _, name := range names {
		if r.matchDotted(globs, name, n) != r.permits {
			return !r.permits
		}
	}
	return r.permits
}

func (r *compiledRule) matchDotted(globs []glob, name string, n int) bool {
	// The parts are the last n, from the right; an identifier may itself hold a dot, which only ever makes
	// the first part longer.
	var parts [3]string
	rest := name
	for i := n - 1; i >= 0; i-- {
		cut := strings.LastIndexByte(rest, '.')
		if i == 0 || cut < 0 {
			parts[i] = rest
			break
		}
		parts[i], rest = rest[cut+1:], rest[:cut]
	}
next:
	for g := range globs {
		for i, pattern := range globs[g].parts {
			if r.permits && !covers(pattern, parts[i]) || !r.permits && !touches(pattern, parts[i]) {
				continue next
			}
		}
		return true
	}
	return false
}
