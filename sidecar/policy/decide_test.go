package policy

import (
	"errors"
	"reflect"
	"strings"
	"testing"
)

// demo is the policy of the design's section 3.
var demo = Postgres{
	Rules: []Rule{
		{Name: "no-schema-change", Match: Match{Commands: []string{"DROP", "TRUNCATE", "ALTER", "CREATE"}}, Action: Deny, Message: "schema changes go through migrations"},
		{Name: "unfiltered-writes", Match: Match{Commands: []string{"UPDATE", "DELETE"}, Unfiltered: ptr(true)}, Action: RequireApproval, Approval: &Approval{Required: 2}},
		{Name: "reads", Match: Match{Commands: []string{"SELECT"}, Tables: []string{"public.*"}}, Action: Allow},
	},
	DefaultAction: Deny,
}

func ptr[T any](v T) *T { return &v }

func TestDecide(t *testing.T) {
	dropping := sqlCommand(SQL{Command: "DROP TABLE", Tables: []Table{public("orders")}})
	wiping := sqlCommand(SQL{Command: "DELETE", Unfiltered: true, Tables: []Table{public("orders")}})
	allowAll := Postgres{DefaultAction: Allow}
	tests := map[string]struct {
		policies []Policy
		cmd      Command
		want     Verdict // Message is only compared where set
	}{
		"the first rule that matches decides": {
			[]Policy{enforced("a", demo)}, dropping,
			Verdict{Action: Deny, Policy: "ns/a", Generation: 7, Rule: "no-schema-change", Message: "schema changes go through migrations"},
		},
		"a rule may ask for people": {
			[]Policy{enforced("a", demo)}, wiping,
			Verdict{Action: RequireApproval, Policy: "ns/a", Generation: 7, Rule: "unfiltered-writes",
				Message: "DELETE without WHERE on public.orders needs an approval", Approval: &Approval{Required: 2}},
		},
		"a rule may allow": {
			[]Policy{enforced("a", demo)}, reading(public("orders")),
			Verdict{Action: Allow, Policy: "ns/a", Generation: 7, Rule: "reads"},
		},
		"what no rule matches goes by the default, whose message says what it was": {
			[]Policy{enforced("a", demo)}, reading(Table{Schema: "hr", Name: "pay"}, public("b"), public("c"), public("d")),
			Verdict{Action: Deny, Policy: "ns/a", Generation: 7, Rule: RuleDefault,
				Message: "SELECT on hr.pay, public.b, public.c and 1 more is not allowed"},
		},
		"session control is not refused by a default": {
			[]Policy{enforced("a", demo)}, sqlCommand(SQL{Command: "BEGIN", Control: true}),
			Verdict{Action: Allow, Policy: "ns/a", Generation: 7, Rule: RuleBuiltin},
		},
		"session control is refused by a rule": {
			[]Policy{enforced("a", Postgres{Rules: []Rule{{Name: "none", Match: Match{Commands: []string{"BEGIN"}}, Action: Deny}}})},
			sqlCommand(SQL{Command: "BEGIN", Control: true}),
			Verdict{Action: Deny, Policy: "ns/a", Generation: 7, Rule: "none"},
		},
		"a built-in refusal stands whatever the rules say": {
			[]Policy{enforced("a", allowAll)}, sqlCommand(SQL{Command: "LOAD", Refused: "it loads a file of the server into it"}),
			Verdict{Action: Deny, Policy: "ns/a", Generation: 7, Rule: RuleBuiltin, Message: "LOAD refused: it loads a file of the server into it"},
		},
		"what was not understood is refused": {
			[]Policy{enforced("a", allowAll)}, Command{Protocol: ProtocolPostgres, Unrecognised: "too long"},
			Verdict{Action: Deny, Policy: "ns/a", Generation: 7, Rule: RuleUnrecognised, Message: "the command was not understood: too long"},
		},
		"what was not understood may be shown to people": {
			[]Policy{enforced("a", Postgres{DefaultAction: Allow, Unrecognised: RequireApproval})}, Command{Protocol: ProtocolPostgres, Unrecognised: "too long"},
			Verdict{Action: RequireApproval, Policy: "ns/a", Generation: 7, Rule: RuleUnrecognised, Approval: &defaultApproval},
		},
		"a command of another protocol is not understood": {
			[]Policy{enforced("a", allowAll)}, Command{Protocol: ProtocolSSH},
			Verdict{Action: Deny, Policy: "ns/a", Generation: 7, Rule: RuleUnrecognised},
		},
		"an opaque statement is refused by what it could do": {
			[]Policy{enforced("a", Postgres{DefaultAction: Allow, Rules: demo.Rules[:1]})}, sqlCommand(SQL{Command: "DO", Opaque: true}),
			Verdict{Action: Deny, Policy: "ns/a", Generation: 7, Rule: "no-schema-change"},
		},
		"an opaque statement says so in its refusal": {
			[]Policy{enforced("a", Postgres{DefaultAction: Deny})}, sqlCommand(SQL{Command: "DO", Opaque: true}),
			Verdict{Action: Deny, Policy: "ns/a", Generation: 7, Rule: RuleDefault, Message: "DO, whose effect cannot be seen, is not allowed"},
		},
		"the strictest of two policies wins": {
			[]Policy{enforced("a", allowAll), enforced("b", demo)}, dropping,
			Verdict{Action: Deny, Policy: "ns/b", Generation: 7, Rule: "no-schema-change"},
		},
		"an approval is stricter than an allowance": {
			[]Policy{enforced("a", allowAll), enforced("b", demo)}, wiping,
			Verdict{Action: RequireApproval, Policy: "ns/b", Generation: 7, Rule: "unfiltered-writes", Approval: &Approval{Required: 2}},
		},
		"of two approvals the one that needs more people": {
			[]Policy{enforced("a", Postgres{DefaultAction: RequireApproval}), enforced("b", demo)}, wiping,
			Verdict{Action: RequireApproval, Policy: "ns/b", Generation: 7, Rule: "unfiltered-writes", Approval: &Approval{Required: 2}},
		},
		"an audited refusal is allowed and noted": {
			[]Policy{audited("a", demo)}, dropping,
			Verdict{Action: Allow, Policy: "ns/a", Generation: 7, Rule: "no-schema-change", Audited: Deny},
		},
		"an audit weakens only its own policy": {
			[]Policy{audited("a", demo), enforced("b", demo)}, dropping,
			Verdict{Action: Deny, Policy: "ns/b", Generation: 7, Rule: "no-schema-change"},
		},
		"an audit is noted beside another's allowance": {
			[]Policy{enforced("a", allowAll), audited("b", demo)}, dropping,
			Verdict{Action: Allow, Policy: "ns/b", Generation: 7, Rule: "no-schema-change", Audited: Deny},
		},
		"laundering is refused where the policy masks": {
			[]Policy{enforced("a", Postgres{DefaultAction: Allow, Masking: []Masking{{Columns: []string{"public.customers.card"}}}})},
			sqlCommand(SQL{Command: "INSERT", Launders: "values of public.customers.card, which is masked, would come into table x"}),
			Verdict{Action: Deny, Policy: "ns/a", Generation: 7, Rule: RuleMasking,
				Message: "INSERT refused: values of public.customers.card, which is masked, would come into table x"},
		},
		"laundering is nothing to a policy that masks nothing": {
			[]Policy{enforced("a", allowAll)}, sqlCommand(SQL{Command: "INSERT", Launders: "x"}),
			Verdict{Action: Allow, Policy: "ns/a", Generation: 7, Rule: RuleDefault},
		},
		"inference is refused where the policy says so": {
			[]Policy{enforced("a", Postgres{DefaultAction: Allow, Inference: Deny})}, sqlCommand(SQL{Command: "SELECT", Infers: "public.customers.card"}),
			Verdict{Action: Deny, Policy: "ns/a", Generation: 7, Rule: RuleInference,
				Message: "SELECT uses public.customers.card, which is masked, outside plain output"},
		},
		"inference does not weaken a rule": {
			[]Policy{enforced("a", Postgres{DefaultAction: Deny, Inference: RequireApproval})}, sqlCommand(SQL{Command: "SELECT", Infers: "public.customers.card"}),
			Verdict{Action: Deny, Policy: "ns/a", Generation: 7, Rule: RuleDefault},
		},
		"inference may be left to people": {
			[]Policy{enforced("a", Postgres{DefaultAction: Allow, Inference: RequireApproval})}, sqlCommand(SQL{Command: "SELECT", Infers: "public.customers.card"}),
			Verdict{Action: RequireApproval, Policy: "ns/a", Generation: 7, Rule: RuleInference, Approval: &defaultApproval},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got := mustCompile(t, tc.policies...).Lookup("DB.", 5432).Decide(tc.cmd)
			if tc.want.Message == "" {
				got.Message = ""
			}
			if !reflect.DeepEqual(got, tc.want) {
				t.Errorf("got  %+v\nwant %+v", got, tc.want)
			}
		})
	}
}

func TestDecideAllTakesTheStrictest(t *testing.T) {
	d := mustCompile(t, enforced("a", demo)).Lookup("db", 5432)
	read := reading(public("orders"))
	drop := sqlCommand(SQL{Command: "DROP TABLE"})
	wipe := sqlCommand(SQL{Command: "DELETE", Unfiltered: true})
	if v, i := d.DecideAll([]Command{read, wipe, drop, wipe}); v.Action != Deny || i != 2 {
		t.Errorf("got %+v at %d", v, i)
	}
	if v, i := d.DecideAll([]Command{read, read}); v.Action != Allow || i != 0 || v.Rule != "reads" {
		t.Errorf("got %+v at %d", v, i)
	}
	if v, i := d.DecideAll(nil); v.Action != Allow || i != -1 {
		t.Errorf("got %+v at %d", v, i)
	}
}

type brokenCondition struct{}

func (brokenCondition) Eval(Command) (bool, error) { return false, errors.New("no such key") }

func TestConditionThatFailsIsARefusal(t *testing.T) {
	previous := Conditions
	defer func() { Conditions = previous }()
	Conditions = func(Protocol, string) (Condition, error) { return brokenCondition{}, nil }
	pg := Postgres{DefaultAction: Allow, Rules: []Rule{{Name: "r", When: "x", Action: Allow}}}
	d := mustCompile(t, enforced("a", demo), enforced("b", pg)).Lookup("db", 5432)
	if !d.Conditional() || mustCompile(t, enforced("a", demo)).Lookup("db", 5432).Conditional() {
		t.Error("Conditional does not say where conditions are")
	}
	v := d.Decide(reading(public("orders")))
	if v.Action != Deny || v.Rule != "r" || !v.Unevaluated || !strings.Contains(v.Message, "no such key") {
		t.Errorf("got %+v", v)
	}
}

func TestDecideAllocatesNothingForWhatIsAllowed(t *testing.T) {
	d := mustCompile(t, enforced("a", demo), enforced("b", demo)).Lookup("db", 5432)
	cmd := reading(public("orders"), public("customers"))
	if n := testing.AllocsPerRun(100, func() { d.Decide(cmd) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkDecide(b *testing.B) {
	d := mustCompile(b, enforced("a", demo)).Lookup("db", 5432)
	cmd := reading(public("orders"), public("customers"))
	b.ReportAllocs()
	for b.Loop() {
		d.Decide(cmd)
	}
}
