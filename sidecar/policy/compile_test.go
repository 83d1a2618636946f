package policy

import (
	"reflect"
	"strings"
	"testing"
)

func TestCompileErrorsNameWhatIsWrong(t *testing.T) {
	rule := func(r Rule) Policy { return enforced("a", Postgres{Rules: []Rule{r}}) }
	target := func(t Target) Policy {
		p := enforced("a", Postgres{})
		p.Targets = []Target{t}
		return p
	}
	twice := enforced("a", Postgres{})
	twice.Targets = append(twice.Targets, Target{Name: "other", Hosts: []string{"DB."}, Port: 5432, Postgres: &Postgres{}})
	tests := map[string]struct {
		policy Policy
		want   string
	}{
		"an unknown enforcement":          {Policy{Namespace: "ns", Name: "a", Enforcement: "Maybe"}, `policy ns/a: enforcement: "Maybe" is not one of Enforce, Audit`},
		"an unknown egress":               {Policy{Namespace: "ns", Name: "a", Egress: Egress{Unmatched: "Ask"}}, `policy ns/a: egress.unmatched: "Ask" is not one of`},
		"a pattern inside an egress host": {Policy{Namespace: "ns", Name: "a", Egress: Egress{Allow: []Passthrough{{Hosts: []string{"a.*.b"}, Ports: []uint16{443}}}}}, `policy ns/a: egress.allow[0].hosts: "a.*.b" is not`},
		"an egress entry without ports":   {Policy{Namespace: "ns", Name: "a", Egress: Egress{Allow: []Passthrough{{Hosts: []string{"a"}}}}}, `policy ns/a: egress.allow[0].ports: at least one`},
		"a target without a protocol":     {target(Target{Name: "t", Hosts: []string{"h"}}), `policy ns/a: target "t": exactly one of postgres, ssh and kubernetes must be set, found 0`},
		"a target with two":               {target(Target{Name: "t", Hosts: []string{"h"}, Postgres: &Postgres{}, SSH: &SSH{}}), `found 2`},
		"a target without hosts":          {target(Target{Name: "t", Postgres: &Postgres{}}), `target "t": hosts: at least one`},
		"a target host that is a pattern": {target(Target{Name: "t", Hosts: []string{"*.db"}, Postgres: &Postgres{}}), `target "t": hosts: "*.db": a target's host is a name or an address`},
		"two targets for one destination": {twice, `policy ns/a: target "other": hosts: db port 5432 already belongs to target "billing"`},
		"an unknown TLS mode":             {enforced("a", Postgres{TLSMode: "verify-full"}), `target "billing": postgres.tls.mode: "verify-full" is not one of VerifyFull`},
		"a masked column without a name":  {enforced("a", Postgres{Masking: []Masking{{Columns: []string{"a.b.c.d"}}}}), `postgres.masking[0].columns: "a.b.c.d" has 4 parts`},
		"an unknown method":               {enforced("a", Postgres{Masking: []Masking{{Method: "Blur"}}}), `postgres.masking[0].method: "Blur"`},
		"a rule without a name":           {rule(Rule{Action: Deny}), `policy ns/a: target "billing": rule "": name: must not be empty`},
		"a rule with a built-in name":     {rule(Rule{Name: "default", Action: Deny}), `rule "default": name: "default" is the name of a built-in verdict`},
		"a rule without an action":        {rule(Rule{Name: "r"}), `rule "r": action: "" is not one of Deny`},
		"a rule of another protocol":      {rule(Rule{Name: "r", Action: Deny, Match: Match{Programs: []string{"rm"}}}), `rule "r": match.programs: a field of ssh rules, not of postgres rules`},
		"an empty table pattern":          {rule(Rule{Name: "r", Action: Deny, Match: Match{Tables: []string{"public."}}}), `rule "r": match.tables: "public." has an empty part`},
		"a table pattern of three parts":  {rule(Rule{Name: "r", Action: Deny, Match: Match{Tables: []string{"db.public.t"}}}), `match.tables: "db.public.t" has 3 parts`},
		"a blank command":                 {rule(Rule{Name: "r", Action: Deny, Match: Match{Commands: []string{" "}}}), `match.commands: an empty command`},
		"an approval by nobody":           {rule(Rule{Name: "r", Action: RequireApproval, Approval: &Approval{}}), `approval.required: 0 people`},
		"a condition without CEL":         {rule(Rule{Name: "r", Action: Deny, When: "true"}), `rule "r": when: this program was built without CEL`},
		"two rules of one name": {enforced("a", Postgres{Rules: []Rule{{Name: "r", Action: Deny}, {Name: "r", Action: Allow}}}),
			`rule "r": name: used by another rule of the target`},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if _, err := Compile(Set{Policies: []Policy{tc.policy}}); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got  %v\nwant %s", err, tc.want)
			}
		})
	}
}

func TestDestinationsAreTheUnionOfTargets(t *testing.T) {
	a, b := enforced("a", Postgres{}), enforced("b", Postgres{})
	a.Targets[0].Hosts = []string{"one", "Two"}
	b.Targets[0].Name, b.Targets[0].Hosts = "ledger", []string{"two", "three"}
	b.Recording = Recording{Durability: Acknowledged, OnFailure: Continue}
	b.Targets = append(b.Targets, Target{Name: "cluster", Kubernetes: &Kubernetes{}})
	c := mustCompile(t, a, b)
	type row struct {
		hosts    []string
		port     uint16
		name     string
		protocol Protocol
		record   Recording
	}
	var got []row
	for _, d := range c.Destinations() {
		got = append(got, row{d.Hosts(), d.Port(), d.Name(), d.Protocol(), d.Recording()})
	}
	want := []row{
		{[]string{"one"}, 5432, "billing", ProtocolPostgres, Recording{Spool, Block}},
		{[]string{"two"}, 5432, "billing+ledger", ProtocolPostgres, Recording{Acknowledged, Block}},
		{[]string{"three"}, 5432, "ledger", ProtocolPostgres, Recording{Acknowledged, Continue}},
		{[]string{"kubernetes.default.svc"}, 443, "cluster", ProtocolKubernetes, Recording{Acknowledged, Continue}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if d := c.Lookup("TWO.", 5432); d == nil || len(d.Targets()) != 2 || d.Targets()[1].Policy != "ns/b" {
		t.Errorf("lookup found %+v", d)
	}
	if c.Lookup("two", 5433) != nil || c.Lookup("four", 5432) != nil {
		t.Error("a destination was found that no policy has")
	}
}

func TestMergedPostgresSettings(t *testing.T) {
	type want struct {
		settings PostgresSettings
		conflict string
	}
	masked := []Masking{{Columns: []string{"a.b.c"}, Method: MaskNull}}
	tests := map[string]struct {
		policies []Policy
		want     want
	}{
		"one policy": {
			[]Policy{enforced("a", Postgres{CAPEM: []byte("ca"), HasCredentials: true, Masking: masked, Inference: Deny, Limits: Limits{Rows: 5}})},
			want{settings: PostgresSettings{TLSMode: TLSVerifyFull, CAPEM: []byte("ca"), HasLease: true, Lease: LeaseRef{"ns/a", "billing"}, Masking: masked, Inference: Deny, Limits: Limits{Rows: 5}}},
		},
		"the strictest of two": {
			[]Policy{enforced("a", Postgres{TLSMode: TLSRequire, Limits: Limits{Rows: 5, Bytes: 9}, Inference: RequireApproval}),
				enforced("b", Postgres{TLSMode: TLSVerifyCA, CAPEM: []byte("b"), HasCredentials: true, Masking: masked, Limits: Limits{Rows: 3}, Inference: Deny})},
			want{settings: PostgresSettings{TLSMode: TLSVerifyCA, CAPEM: []byte("b"), HasLease: true, Lease: LeaseRef{"ns/b", "billing"}, Masking: masked, Inference: Deny, Limits: Limits{Rows: 3, Bytes: 9}}},
		},
		"an audited policy limits nothing but masks": {
			[]Policy{audited("a", Postgres{Masking: masked, Inference: Deny, Limits: Limits{Rows: 1}})},
			want{settings: PostgresSettings{TLSMode: TLSVerifyFull, Masking: masked}},
		},
		"different roots": {
			[]Policy{enforced("a", Postgres{CAPEM: []byte("a")}), enforced("b", Postgres{CAPEM: []byte("b")})},
			want{conflict: "policies ns/a and ns/b name different certificate authorities (postgres.tls.caFrom) for one destination"},
		},
		"different credentials": {
			[]Policy{enforced("a", Postgres{HasCredentials: true, CredentialsID: "ns/x"}), enforced("b", Postgres{HasCredentials: true, CredentialsID: "ns/y"})},
			want{conflict: "policies ns/a and ns/b give different credentials (postgres.credentials) for one destination"},
		},
		"credentials that are not known to be the same": {
			[]Policy{enforced("a", Postgres{HasCredentials: true}), enforced("b", Postgres{HasCredentials: true})},
			want{conflict: "policies ns/a and ns/b give different credentials (postgres.credentials) for one destination"},
		},
		"different passwords of agents": {
			[]Policy{enforced("a", Postgres{AgentPassword: "x"}), enforced("b", Postgres{AgentPassword: "y"})},
			want{conflict: "policies ns/a and ns/b ask agents for different passwords (postgres.agentPassword) for one destination"},
		},
		"a password of agents, and a policy that asks for none": {
			[]Policy{enforced("a", Postgres{}), enforced("b", Postgres{AgentPassword: "x"})},
			want{settings: PostgresSettings{TLSMode: TLSVerifyFull, AgentPassword: "x"}},
		},
		"an audited policy asks agents for a password as well": {
			[]Policy{audited("a", Postgres{AgentPassword: "x"}), enforced("b", Postgres{AgentPassword: "x"})},
			want{settings: PostgresSettings{TLSMode: TLSVerifyFull, AgentPassword: "x"}},
		},
		"an audited policy that asks agents for another password": {
			[]Policy{audited("a", Postgres{AgentPassword: "x"}), enforced("b", Postgres{AgentPassword: "y"})},
			want{conflict: "policies ns/a and ns/b ask agents for different passwords (postgres.agentPassword) for one destination"},
		},
		"the same credentials": {
			[]Policy{enforced("a", Postgres{HasCredentials: true, CredentialsID: "ns/x"}), enforced("b", Postgres{HasCredentials: true, CredentialsID: "ns/x"})},
			want{settings: PostgresSettings{TLSMode: TLSVerifyFull, HasLease: true, Lease: LeaseRef{"ns/a", "billing"}}},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			d := mustCompile(t, tc.policies...).Lookup("db", 5432)
			if d.Conflict() != tc.want.conflict {
				t.Fatalf("conflict %q, want %q", d.Conflict(), tc.want.conflict)
			}
			if d.Conflict() != "" {
				if v := d.Decide(reading()); v.Action != Deny || v.Rule != RuleConflict || v.Message != d.Conflict() {
					t.Errorf("a conflict is not refused: %+v", v)
				}
				return
			}
			if !reflect.DeepEqual(*d.Postgres(), tc.want.settings) {
				t.Errorf("got  %+v\nwant %+v", *d.Postgres(), tc.want.settings)
			}
		})
	}
}

func TestProtocolConflict(t *testing.T) {
	a, b := enforced("a", Postgres{}), enforced("b", Postgres{})
	b.Targets[0].Postgres, b.Targets[0].SSH = nil, &SSH{}
	if d := mustCompile(t, a, b).Lookup("db", 5432); !strings.Contains(d.Conflict(), "disagree on the protocol") {
		t.Errorf("conflict %q", d.Conflict())
	}
}

func TestEgress(t *testing.T) {
	open := Policy{Namespace: "ns", Name: "open", Egress: Egress{Unmatched: Allow}}
	shut := Policy{Namespace: "ns", Name: "shut", Generation: 3, Egress: Egress{Unmatched: Deny, Allow: []Passthrough{
		{Hosts: []string{"API.llm.example", "*.cdn.example"}, Ports: []uint16{443, 8443}},
	}}}
	watching := shut
	watching.Enforcement = Audit
	tests := map[string]struct {
		policies []Policy
		host     string
		port     uint16
		want     Action
		audited  Action
	}{
		"without policies nothing passes":              {nil, "api.llm.example", 443, Deny, ""},
		"an open policy lets everything pass":          {[]Policy{open}, "x", 1, Allow, ""},
		"a listed host passes":                         {[]Policy{shut}, "api.LLM.example.", 443, Allow, ""},
		"a listed host passes on its other port":       {[]Policy{shut}, "api.llm.example", 8443, Allow, ""},
		"a listed host does not pass on any port":      {[]Policy{shut}, "api.llm.example", 22, Deny, ""},
		"a name under a wildcard passes":               {[]Policy{shut}, "a.b.cdn.example", 443, Allow, ""},
		"the wildcard's own domain does not":           {[]Policy{shut}, "cdn.example", 443, Deny, ""},
		"a name that only ends alike does not":         {[]Policy{shut}, "evilcdn.example", 443, Deny, ""},
		"a connection without a name does not":         {[]Policy{shut}, "", 443, Deny, ""},
		"one policy that denies wins over an open one": {[]Policy{open, shut}, "x", 443, Deny, ""},
		"all that agree let it pass":                   {[]Policy{open, shut}, "api.llm.example", 443, Allow, ""},
		"an audited policy only notes":                 {[]Policy{watching}, "x", 443, Allow, Deny},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			c := mustCompile(t, tc.policies...)
			v := c.EgressVerdict(tc.host, tc.port)
			if v.Action != tc.want || v.Audited != tc.audited || v.Rule != RuleEgress {
				t.Errorf("got %+v", v)
			}
			if v.Action == Deny && v.Message == "" {
				t.Error("a refusal without a message")
			}
			if c.Passthrough(tc.host, tc.port) != (tc.want == Allow) {
				t.Error("Passthrough disagrees")
			}
		})
	}
}
