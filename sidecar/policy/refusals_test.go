package policy

import (
	"strings"
	"testing"
)

func TestRefusals(t *testing.T) {
	allow := func(r Refusals) Postgres { return Postgres{DefaultAction: Allow, Refusals: r} }
	killing := sqlCommand(SQL{Command: "SELECT", Functions: []string{"pg_terminate_backend"}, ReadOnly: true,
		Guarded: []Guard{{Group: RefuseSessions, Why: "function pg_terminate_backend may not be used: it acts on other sessions"}}})
	exempt := Refusals{Exempt: []RefusalGroup{RefuseSessions}}
	functions := Refusals{Functions: []string{"audit.*", "pg_sleep*"}}
	calling := func(f string) Command { return sqlCommand(SQL{Command: "SELECT", Functions: []string{f}}) }
	tests := map[string]struct {
		policies []Policy
		cmd      Command
		action   Action
		rule     string
		says     string
	}{
		"a group that may be exempted is refused before the rules": {
			[]Policy{enforced("a", allow(Refusals{}))}, killing, Deny, RuleBuiltin, "group Sessions, which a policy can exempt"},
		"a group that is exempted is left to the rules": {
			[]Policy{enforced("a", allow(exempt))}, killing, Allow, RuleDefault, ""},
		"and the rules may refuse it": {
			[]Policy{enforced("a", Postgres{DefaultAction: Deny, Refusals: exempt})}, killing, Deny, RuleDefault, "SELECT is not allowed"},
		"another group's exemption does not count": {
			[]Policy{enforced("a", allow(Refusals{Exempt: []RefusalGroup{RefuseServerControl}}))}, killing, Deny, RuleBuiltin, "Sessions"},
		"one of two policies exempts for itself alone": {
			[]Policy{enforced("a", allow(exempt)), enforced("b", allow(Refusals{}))}, killing, Deny, RuleBuiltin, "Sessions"},
		"a policy in Audit refuses nothing for another": {
			[]Policy{enforced("a", allow(exempt)), audited("b", allow(Refusals{}))}, killing, Allow, RuleBuiltin, ""},
		"a function that the policy adds is refused": {
			[]Policy{enforced("a", allow(functions))}, calling("audit.purge"), Deny, RuleRefusals, "function audit.purge may not be used"},
		"an Allow rule does not let it through": {
			[]Policy{enforced("a", Postgres{Refusals: functions, Rules: []Rule{{Name: "all", Action: Allow}}})}, calling("audit.purge"), Deny, RuleRefusals, ""},
		"a function that could be in its schema is refused": {
			[]Policy{enforced("a", allow(functions))}, calling("purge"), Deny, RuleRefusals, "purge"},
		"a function in another schema is not": {
			[]Policy{enforced("a", allow(functions))}, calling("app.purge"), Allow, RuleDefault, ""},
		"a function that is added by its name alone counts in every schema": {
			[]Policy{enforced("a", allow(functions))}, calling("pg_catalog.pg_sleep_for"), Deny, RuleRefusals, ""},
		"a definition that may call it is refused": {
			[]Policy{enforced("a", allow(functions))}, sqlCommand(SQL{Command: "CREATE OPERATOR", Mentions: []string{"leftarg", "pg_sleep"}}), Deny, RuleRefusals, ""},
		"a table that the policy adds is refused": {
			[]Policy{enforced("a", allow(Refusals{Tables: []string{"vault.*"}}))}, reading(public("a"), Table{Schema: "vault", Name: "keys"}), Deny, RuleRefusals, "vault.keys may not be used"},
		"a table that could be it is refused": {
			[]Policy{enforced("a", allow(Refusals{Tables: []string{"vault.*"}}))}, reading(Table{Schema: "public", Name: "keys", Candidates: []string{"vault"}}), Deny, RuleRefusals, ""},
		"another table is not": {
			[]Policy{enforced("a", allow(Refusals{Tables: []string{"vault.*"}}))}, reading(public("keys")), Allow, RuleDefault, ""},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got := mustCompile(t, tc.policies...).Lookup("db", 5432).Decide(tc.cmd)
			if got.Action != tc.action || got.Rule != tc.rule && got.Action == Deny || !strings.Contains(got.Message, tc.says) {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func TestRefusalsThatAreMistakes(t *testing.T) {
	for name, r := range map[string]Refusals{
		"a group that no policy can exempt": {Exempt: []RefusalGroup{RefuseServerFiles}},
		"a group that there is not":         {Exempt: []RefusalGroup{"Everything"}},
		"a function with too many parts":    {Functions: []string{"a.b.c"}},
		"an empty pattern":                  {Tables: []string{""}},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := Compile(Set{Policies: []Policy{enforced("a", Postgres{Refusals: r})}}); err == nil || !strings.Contains(err.Error(), "postgres.refusals.") {
				t.Errorf("got %v", err)
			}
		})
	}
}
