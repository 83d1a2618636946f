package snapshot_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
	"github.com/chaperone-dev/chaperone/controllers/snapshot"
	"github.com/chaperone-dev/chaperone/sidecar/policy"
)

// objects resolves references from a map of "kind namespace/name key".
type objects map[string]string

func (o objects) ConfigMapKey(namespace, name, key string) ([]byte, error) {
	return o.get("configmap", namespace, name, key)
}

func (o objects) SecretKey(namespace, name, key string) ([]byte, error) {
	return o.get("secret", namespace, name, key)
}

func (o objects) get(kind, namespace, name, key string) ([]byte, error) {
	v, ok := o[fmt.Sprintf("%s %s/%s %s", kind, namespace, name, key)]
	if !ok {
		return nil, fmt.Errorf("%s %s/%s has no key %s", kind, namespace, name, key)
	}
	return []byte(v), nil
}

const billing = `
metadata: {namespace: agents, name: billing, uid: u-1, generation: 3}
spec:
  podSelector: {matchLabels: {app: billing-agent}}
  egress:
    allow: [{hosts: [api.llm.example], ports: [443]}]
  targets:
  - name: billing
    hosts: [billing-db.prod.svc.cluster.local]
    port: 5432
    postgres:
      tls: {caFrom: {configMapKeyRef: {name: db-ca, key: ca.crt}}}
      credentials: {secretRef: {name: billing-db}}
      agentPassword: placeholder
      rules:
      - name: no-schema-change
        match: {commands: [DROP, TRUNCATE]}
        action: Deny
        message: schema changes go through migrations
      - name: unfiltered-writes
        match: {commands: [UPDATE, DELETE], unfiltered: true}
        action: RequireApproval
        approval: {required: 2, groups: [dba], wait: 90s}
      - name: reads
        match: {commands: [SELECT], tables: ["public.*"]}
        action: Allow
      masking:
      - columns: ["public.customers.card_number"]
      - detectors: [CreditCard, Email]
        method: Partial
      refusals: {functions: ["audit.*"], tables: ["vault.*"], exempt: [Sessions]}
      limits: {rows: 1000, bytes: 64Mi, statementTimeout: 1500ms}
`

func parse(t *testing.T, text string) *v1alpha1.AgentPolicy {
	t.Helper()
	ap := &v1alpha1.AgentPolicy{}
	if err := yaml.UnmarshalStrict([]byte(text), ap); err != nil {
		t.Fatal(err)
	}
	return ap
}

func rootPEM(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func TestPolicyFillsDefaultsAndResolvesReferences(t *testing.T) {
	ca := rootPEM(t)
	got, err := snapshot.Policy(parse(t, billing), objects{"configmap agents/db-ca ca.crt": ca})
	if err != nil {
		t.Fatal(err)
	}
	unfiltered := true
	want := policy.Policy{
		Namespace: "agents", Name: "billing", UID: "u-1", Generation: 3,
		Enforcement: policy.Enforce,
		Egress:      policy.Egress{Unmatched: policy.Deny, Allow: []policy.Passthrough{{Hosts: []string{"api.llm.example"}, Ports: []uint16{443}}}},
		Recording:   policy.Recording{Durability: policy.Spool, OnFailure: policy.Block},
		Targets: []policy.Target{{
			Name: "billing", Hosts: []string{"billing-db.prod.svc.cluster.local"}, Port: 5432,
			Postgres: &policy.Postgres{
				TLSMode: policy.TLSVerifyFull, CAPEM: []byte(ca), HasCredentials: true, CredentialsID: "agents/billing-db", AgentPassword: "placeholder",
				DefaultAction: policy.Deny, Unrecognised: policy.Deny,
				Rules: []policy.Rule{
					{Name: "no-schema-change", Match: policy.Match{Commands: []string{"DROP", "TRUNCATE"}}, Action: policy.Deny, Message: "schema changes go through migrations"},
					{Name: "unfiltered-writes", Match: policy.Match{Commands: []string{"UPDATE", "DELETE"}, Unfiltered: &unfiltered}, Action: policy.RequireApproval,
						Approval: &policy.Approval{Required: 2, Groups: []string{"dba"}, TimeoutSeconds: 900, WaitSeconds: 90, InTransaction: "Refuse", Scope: "Pod"}},
					{Name: "reads", Match: policy.Match{Commands: []string{"SELECT"}, Tables: []string{"public.*"}}, Action: policy.Allow},
				},
				Masking: []policy.Masking{
					{Columns: []string{"public.customers.card_number"}, Method: policy.MaskRedact},
					{Detectors: []string{"CreditCard", "Email"}, Method: policy.MaskPartial},
				},
				Refusals: policy.Refusals{Functions: []string{"audit.*"}, Tables: []string{"vault.*"}, Exempt: []policy.RefusalGroup{policy.RefuseSessions}},
				Limits:   policy.Limits{Rows: 1000, Bytes: 64 << 20, StatementTimeoutMS: 1500},
			},
		}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestPolicyNamesTheFieldThatIsWrong(t *testing.T) {
	key := "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"
	for name, c := range map[string]struct {
		replace   [2]string
		refs      objects
		want      string
		reference bool
	}{
		"a root that is not there": {
			refs: objects{}, reference: true,
			want: "spec.targets[0].postgres.tls.caFrom.configMapKeyRef: configmap agents/db-ca has no key ca.crt",
		},
		"a root that is no certificate": {
			refs: objects{"configmap agents/db-ca ca.crt": "hello"}, reference: true,
			want: "spec.targets[0].postgres.tls.caFrom.configMapKeyRef: holds no PEM certificate",
		},
		"a private key where a root belongs must not reach the pods": {
			refs: objects{"configmap agents/db-ca ca.crt": key}, reference: true,
			want: "spec.targets[0].postgres.tls.caFrom.configMapKeyRef: holds a PEM block of type PRIVATE KEY",
		},
		"a wait longer than the request stands": {
			replace: [2]string{"wait: 90s", "wait: 16m"},
			want:    "spec.targets[0].postgres.rules[1].approval.wait: 16m0s is longer than the request stands (timeout 900s)",
		},
		"a timeout of nothing": {
			replace: [2]string{"wait: 90s", "timeout: 0s"},
			want:    "spec.targets[0].postgres.rules[1].approval.timeout: must be at least 1s, found 0s",
		},
		"a negative size": {
			replace: [2]string{"bytes: 64Mi", "bytes: -1"},
			want:    "spec.targets[0].postgres.limits.bytes: must be more than 0, found -1",
		},
		"a pattern that is no regular expression": {
			replace: [2]string{`card_number"]`, "card_number\"]\n        pattern: \"(\""},
			want:    "spec.targets[0].postgres.masking[0].pattern: error parsing regexp",
		},
		"a condition that is no CEL": {
			replace: [2]string{"name: reads", "name: reads\n        when: command.tabels.size() > 1"},
			want:    `spec: target "billing": rule "reads": when:`,
		},
		"a mistake that only the sidecar's compiler knows": {
			replace: [2]string{"name: reads", "name: no-schema-change"},
			want:    `spec: target "billing": rule "no-schema-change": name: used by another rule of the target`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			text := billing
			if c.replace[0] != "" {
				text = strings.Replace(text, c.replace[0], c.replace[1], 1)
			}
			var refs snapshot.Resolver
			if c.refs != nil {
				refs = c.refs
			}
			_, err := snapshot.Policy(parse(t, text), refs)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v, want %s", err, c.want)
			}
			if got := snapshot.List(err).References(); got != c.reference {
				t.Errorf("References() = %v, want %v", got, c.reference)
			}
		})
	}
}

func TestPolicyWithoutResolverChecksAllElse(t *testing.T) {
	got, err := snapshot.Policy(parse(t, billing), nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Targets) != 1 || got.Targets[0].Postgres.CAPEM != nil {
		t.Errorf("got %+v", got.Targets)
	}
}

func TestBrokenKeepsDestinationsAndRefusesThem(t *testing.T) {
	two := billing + `
  - name: other
    hosts: [other.example]
    port: 5432
    postgres: {defaultAction: Allow}
`
	ask := func(t *testing.T, p policy.Policy, host string) policy.Verdict {
		t.Helper()
		set, err := policy.Compile(policy.Set{Policies: []policy.Policy{p}})
		if err != nil {
			t.Fatal(err)
		}
		d := set.Lookup(host, 5432)
		if d == nil {
			t.Fatalf("no destination for %s", host)
		}
		return d.Decide(policy.Command{Protocol: policy.ProtocolPostgres, Text: "SELECT 1", SQL: &policy.SQL{Command: "SELECT"}})
	}
	t.Run("with a missing reference the target that has it refuses and the others stand", func(t *testing.T) {
		ap := parse(t, two)
		_, err := snapshot.Policy(ap, objects{})
		p := snapshot.Broken(ap, err)
		v := ask(t, p, "billing-db.prod.svc.cluster.local")
		if v.Action != policy.Deny || v.Rule != snapshot.RuleBroken || !strings.Contains(v.Message, "db-ca has no key ca.crt") {
			t.Errorf("got %+v", v)
		}
		if v := ask(t, p, "other.example"); v.Action != policy.Allow {
			t.Errorf("the other target: got %+v", v)
		}
		if len(p.Egress.Allow) != 1 {
			t.Errorf("egress: got %+v", p.Egress)
		}
	})
	t.Run("with anything else nothing of it is trusted", func(t *testing.T) {
		ap := parse(t, two)
		p := snapshot.Broken(ap, errors.New("spec: wrong"))
		if v := ask(t, p, "other.example"); v.Action != policy.Deny {
			t.Errorf("got %+v", v)
		}
		if len(p.Egress.Allow) != 0 || p.Egress.Unmatched != policy.Deny {
			t.Errorf("egress: got %+v", p.Egress)
		}
	})
	t.Run("targets that cannot be told apart are left out and egress denies them", func(t *testing.T) {
		ap := parse(t, strings.Replace(two, "other.example", "billing-db.prod.svc.cluster.local", 1))
		p := snapshot.Broken(ap, errors.New("spec: wrong"))
		set, err := policy.Compile(policy.Set{Policies: []policy.Policy{p}})
		if err != nil {
			t.Fatal(err)
		}
		if set.Passthrough("billing-db.prod.svc.cluster.local", 5432) {
			t.Error("passed through")
		}
	})
}

func TestSetVersionSaysWhichGenerationsItHolds(t *testing.T) {
	a := policy.Policy{Namespace: "agents", Name: "a", Generation: 2, Egress: policy.Egress{Unmatched: policy.Deny}}
	b := policy.Policy{Namespace: "agents", Name: "b.c", Generation: 7}
	one, err := snapshot.Set([]policy.Policy{b, a}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	two, err := snapshot.Set([]policy.Policy{a, b}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if one.Version != two.Version {
		t.Errorf("the order of the input changes the version: %s, %s", one.Version, two.Version)
	}
	if diff := cmp.Diff(map[string]int64{"a": 2, "b.c": 7}, snapshot.Generations(one.Version)); diff != "" {
		t.Error(diff)
	}
	a.Egress.Unmatched = policy.Allow
	three, err := snapshot.Set([]policy.Policy{a, b}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if three.Version == one.Version {
		t.Error("a change of content leaves the version as it was")
	}
	if one.MaxAgeSeconds != 3600 {
		t.Errorf("MaxAgeSeconds = %d", one.MaxAgeSeconds)
	}
}

func FuzzGenerations(f *testing.F) {
	f.Add("0011223344556677;a=2;b=7")
	f.Add(";=;=-1;a=;a==;;;")
	f.Fuzz(func(t *testing.T, version string) {
		for name, generation := range snapshot.Generations(version) {
			if name == "" || generation < 1 {
				t.Errorf("%q: %q=%d", version, name, generation)
			}
		}
	})
}

func TestReferencesNamesEveryObject(t *testing.T) {
	ap := parse(t, billing+`
  - name: bastion
    hosts: [bastion.example]
    port: 22
    ssh:
      knownHosts: {secretKeyRef: {name: hosts, key: known_hosts}}
      credentials: {certificateAuthorityRef: {name: ssh-ca}}
  - name: cluster
    kubernetes: {credentials: {secretRef: {name: kubeconfig}}}
`)
	var got []string
	for _, r := range snapshot.References(ap) {
		got = append(got, fmt.Sprintf("%s %s %s %s %s", r.Target, r.Kind, r.Name, r.Key, r.Field))
	}
	want := []string{
		"billing ConfigMap db-ca ca.crt spec.targets[0].postgres.tls.caFrom.configMapKeyRef",
		"billing Secret billing-db  spec.targets[0].postgres.credentials.secretRef",
		"bastion Secret hosts known_hosts spec.targets[1].ssh.knownHosts.secretKeyRef",
		"bastion Secret ssh-ca  spec.targets[1].ssh.credentials.certificateAuthorityRef",
		"cluster Secret kubeconfig  spec.targets[2].kubernetes.credentials.secretRef",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
