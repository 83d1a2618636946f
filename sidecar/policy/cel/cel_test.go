package cel

import (
	"strings"
	"testing"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
)

func selectFrom(tables ...policy.Table) policy.Command {
	return policy.Command{Protocol: policy.ProtocolPostgres, Text: "select 1", SQL: &policy.SQL{Command: "SELECT", Tables: tables}}
}

func TestCondition(t *testing.T) {
	tests := map[string]struct {
		when string
		cmd  policy.Command
		want bool
	}{
		"if a table begins with the prefix, the rule is for the command": {
			`command.tables.exists(t, t.startsWith("pii."))`, selectFrom(policy.Table{Schema: "pii", Name: "people"}), true,
		},
		"if no table does, it is not": {
			`command.tables.exists(t, t.startsWith("pii."))`, selectFrom(policy.Table{Schema: "public", Name: "orders"}), false,
		},
		"every schema that a table could be in counts": {
			`command.tables.exists(t, t.startsWith("pii."))`,
			selectFrom(policy.Table{Schema: "public", Name: "people", Candidates: []string{"pii"}}), true,
		},
		"a table of unknown schema goes by a star": {
			`"*.people" in command.tables`, selectFrom(policy.Table{Name: "people"}), true,
		},
		"only changed tables are in written": {
			`command.written == ["public.a"]`,
			selectFrom(policy.Table{Schema: "public", Name: "a", Write: true}, policy.Table{Schema: "public", Name: "b"}), true,
		},
		"the tag goes by name": {`command.name == "SELECT" && !command.unfiltered`, selectFrom(), true},
		"lists are empty, not missing": {
			`size(command.functions) + size(command.via) + size(command.columns) == 0`, selectFrom(), true,
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			c, err := Compile(policy.ProtocolPostgres, tc.when)
			if err != nil {
				t.Fatal(err)
			}
			got, err := c.Eval(tc.cmd)
			if err != nil || got != tc.want {
				t.Errorf("got %v, %v; want %v", got, err, tc.want)
			}
		})
	}
}

func TestCompileErrors(t *testing.T) {
	tests := map[string]struct{ when, want string }{
		"an expression that is no bool":   {`command.tables`, "not bool"},
		"a syntax error":                  {`command.tables.exists(`, "Syntax error"},
		"a field that commands have not":  {`command.table == "x"`, "command.table: a postgres command has only"},
		"an undeclared name":              {`request.user == "x"`, "undeclared reference to 'request'"},
		"a misspelt field inside a macro": {`[1].exists(x, command.nme == "x")`, "command.nme"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if _, err := Compile(policy.ProtocolPostgres, tc.when); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
	if _, err := Compile("smtp", "true"); err == nil {
		t.Error("a protocol without fields compiled")
	}
}

func TestEvaluationIsBounded(t *testing.T) {
	c, err := Compile(policy.ProtocolPostgres,
		`command.tables.all(a, command.tables.all(b, command.tables.all(c, a + b + c != "x")))`)
	if err != nil {
		t.Fatal(err)
	}
	tables := make([]policy.Table, 300)
	for i := range tables {
		tables[i] = policy.Table{Schema: "public", Name: strings.Repeat("x", i+1)}
	}
	if _, err := c.Eval(selectFrom(tables...)); err == nil {
		t.Error("27 million steps were evaluated without an error")
	}
}

func TestWhenDeniesWhatItCannotEvaluate(t *testing.T) {
	set := policy.Set{Policies: []policy.Policy{{
		Namespace: "ns", Name: "p", Enforcement: policy.Enforce,
		Targets: []policy.Target{{
			Name: "db", Hosts: []string{"db"},
			Postgres: &policy.Postgres{DefaultAction: policy.Allow, Rules: []policy.Rule{
				{Name: "first-table", When: `command.tables[0] == "public.a"`, Action: policy.Deny},
			}},
		}},
	}}}
	c, err := policy.Compile(set)
	if err != nil {
		t.Fatal(err)
	}
	v := c.Lookup("db", 5432).Decide(selectFrom()) // no table at all: the index is out of range
	if v.Action != policy.Deny || v.Rule != "first-table" || !strings.Contains(v.Message, "could not be evaluated") {
		t.Errorf("got %+v", v)
	}
	if v := c.Lookup("db", 5432).Decide(selectFrom(policy.Table{Schema: "public", Name: "b"})); v.Action != policy.Allow {
		t.Errorf("got %+v", v)
	}
	set.Policies[0].Targets[0].Postgres.Rules[0].When = `command.tabls == []`
	if _, err := policy.Compile(set); err == nil || !strings.Contains(err.Error(), `policy ns/p: target "db": rule "first-table": when: command.tabls`) {
		t.Errorf("got %v", err)
	}
}
