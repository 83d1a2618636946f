package judge

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func policies(t *testing.T) *Policies {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "policies.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	p := &Policies{}
	if err := p.Add(text, "default"); err != nil {
		t.Fatal(err)
	}
	if p.Len() != 2 {
		t.Fatalf("%d policies", p.Len())
	}
	return p
}

func TestCommandsAreJudgedAsInTheSidecar(t *testing.T) {
	cases, err := ParseCases([]byte(`
defaults: {labels: {app: ops}, namespace: agents}
cases:
# ssh
- {exec: "systemctl status billing", expect: {verdict: Allow, rule: look, policy: ops}}
- {exec: "ls | cat", expect: Allow}
- {exec: "ls; rm -rf /", expect: {verdict: Deny, rule: default, message: rm}}
- {exec: "sh -c 'ls && rm x'", expect: Deny}
- {exec: "$(echo rm) x", expect: Deny}
- {exec: "sudo ls", expect: {verdict: RequireApproval, rule: root}}
- {exec: "ls 'unfinished", expect: {verdict: Deny, rule: unrecognised}}
- {exec: ls, pty: true, expect: Deny}
- {target: bastion, shell: true, pty: true, expect: {verdict: RequireApproval, rule: root, message: interactive}} # sudo could be typed there
- {target: bastion, subsystem: netconf, expect: Deny}
- {file: /var/log/app.log, operation: read, expect: {verdict: Allow, rule: logs}}
- {file: /var/log/app.log, operation: remove, expect: Deny}
- {file: /etc/shadow, operation: read, expect: {verdict: Deny, rule: default}}
- {forward: Local, address: "db.prod.example:5432", expect: {verdict: Allow, rule: tunnels}}
- {forward: Local, address: "other:5432", expect: Deny}
- {target: bastion, connect: true, expect: {verdict: RequireApproval, rule: access}}
# kubernetes
- {request: GET /api/v1/namespaces/web/pods, expect: {verdict: Allow, rule: read}}
- {request: GET /api/v1/pods, expect: Deny}
- {request: GET /api/v1/namespaces/web/secrets/x, expect: {verdict: Deny, rule: no-secrets, message: not even by name}}
- {request: "GET /api/v1/namespaces/web/%2e%2e/pods", expect: {verdict: Deny, rule: unrecognised}}
- {request: DELETE /api/v1/namespaces/web/pods/x, expect: Deny}
- {request: POST /api/v1/namespaces/web/pods/x/exec, command: [ls, -l], container: app, expect: {verdict: Allow, rule: run}}
- {request: POST /api/v1/namespaces/web/pods/x/exec, command: [sh, -c, "ls; id"], expect: Deny}
- {request: POST /api/v1/namespaces/web/pods/x/exec, command: [sh], stdin: true, tty: true, expect: Deny}
- {request: GET /version, expect: Allow}
# a policy in Audit refuses nothing and says what it would have done
- {labels: {app: billing}, sql: SELECT name FROM customers, expect: {verdict: Allow, rule: reads}}
- {labels: {app: billing}, sql: SELECT name FROM secrets, expect: {verdict: Allow, audited: Deny}}
- {labels: {app: billing}, sql: SELEC 1, expect: SyntaxError}
- {labels: {app: billing}, sql: SELECT name FROM customers, searchPath: [hr], expect: {verdict: Allow, audited: Deny}}
# where no target is for it
- {host: api.llm.example, port: 443, connect: true, expect: {verdict: Allow, rule: egress}}
- {host: example.com, port: 443, connect: true, expect: {verdict: Deny, rule: egress}}
- {host: bastion.prod.example, port: 22, exec: ls, expect: Allow}
- {labels: {app: none}, host: example.com, port: 443, connect: true, expect: {verdict: Deny, message: no policy applies}}
`))
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range policies(t).Judge(cases) {
		if !o.OK() {
			t.Errorf("%s: %s; it is %s by %s: %s", o.Case, o.Wrong, o.Verdict, o.Rule, o.Message)
		}
	}
}

func TestACaseThatComesOutOtherwiseSaysHow(t *testing.T) {
	for text, want := range map[string]string{
		`{labels: {app: ops}, exec: ls, expect: Deny}`:                                                      "verdict Deny was expected",
		`{labels: {app: ops}, exec: ls, expect: {verdict: Allow, rule: other, policy: x, message: z}}`:      `rule other was expected, policy x was expected, a message with "z" was expected`,
		`{labels: {app: billing}, sql: SELECT 1, target: nowhere, expect: Allow}`:                           "no policy that applies has a target nowhere; there are billing",
		`{labels: {app: billing}, exec: ls, target: billing, expect: Allow}`:                                "target billing speaks postgres, and that is for ssh",
		`{labels: {app: ops}, sql: SELECT 1, expect: Deny}`:                                                 "no postgres target applies",
		`{labels: {app: ops}, connect: true, expect: Deny}`:                                                 "several targets could be meant: say which (target); there are bastion, cluster",
		`{labels: {app: ops}, host: api.llm.example, port: 443, exec: ls, expect: Allow}`:                   "the connection passes uninspected",
		`{labels: {app: ops}, host: bastion.prod.example, exec: ls, expect: Allow}`:                         "host needs a port",
		`{labels: {app: ops}, forward: Sideways, expect: Deny}`:                                             `"Sideways" is none of Local`,
		`{labels: {app: ops}, file: /x, operation: eat, expect: Deny}`:                                      `operation "eat" is none of read`,
		`{labels: {app: ops}, request: /api, expect: Deny}`:                                                 "a method and a path are needed",
		`{labels: {app: billing}, sql: SELECT name FROM secrets, expect: {verdict: Allow, audited: Allow}}`: "audited Allow was expected",
	} {
		cases, err := ParseCases([]byte("cases: [" + text + "]"))
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got := policies(t).Judge(cases)[0].Wrong; !strings.Contains(got, want) {
			t.Errorf("%s: got %q", text, got)
		}
	}
}

func TestWhatIsNoFileOfCases(t *testing.T) {
	for text, want := range map[string]string{
		`cases: []`:                       "holds no cases",
		`cases: [{sql: x, expct: Allow}]`: `unknown field "expct"`,
		`cases: [{sql: x, expect: {verdict: Allow, ruel: x}}]`: `unknown field "ruel"`,
		`cases: [{sql: x, exec: y, expect: Allow}]`:            "exactly one of",
		`cases: [{expect: Allow}]`:                             "exactly one of",
		`cases: [{sql: x}]`:                                    "expect is missing",
		`cases: [{name: a, sql: x, expect: allow}]`:            `case 1 (a): expect: "allow" is none of Allow, Deny`,
		`cases: [{exec: x, command: [y], expect: Allow}]`:      "go with a request",
		`- a`: "cannot unmarshal",
	} {
		if _, err := ParseCases([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestWhatIsNoPolicy(t *testing.T) {
	for text, want := range map[string]string{
		"apiVersion: chaperone.dev/v1\nkind: AgentPolicy":                                                    `an AgentPolicy of apiVersion "chaperone.dev/v1"`,
		"apiVersion: chaperone.dev/v1alpha1\nkind: AgentPolicy\nmetadata: {name: x}\nspec: {podSelectr: {}}": `policy x: error unmarshaling JSON: while decoding JSON: json: unknown field "podSelectr"`,
		"apiVersion: chaperone.dev/v1alpha1\nkind: AgentPolicy\nmetadata: {name: x}\nspec: {podSelector: {}, targets: [{name: a, hosts: [h], port: 22, ssh: {knownHosts: {configMapKeyRef: {name: hosts, key: k}}, rules: [{name: r, action: allow}]}}]}": `policy ns/x: spec`,
		"apiVersion: chaperone.dev/v1alpha1\nkind: AgentPolicy\nmetadata: {name: x}\nspec: {podSelector: {}}\n---\napiVersion: chaperone.dev/v1alpha1\nkind: AgentPolicy\nmetadata: {name: x}\nspec: {podSelector: {}}":                                   "policy ns/x is there twice",
	} {
		if err := (&Policies{}).Add([]byte(text), "ns"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}
