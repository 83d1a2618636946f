package policy

import (
	"errors"
	"fmt"
	"strings"
)

// Ports and host that a target has when its policy names none.
const (
	defaultPostgresPort   = 5432
	defaultSSHPort        = 22
	defaultKubernetesPort = 443
	// defaultKubernetesHost is the pod's own API server by the name that every cluster gives it.
	defaultKubernetesHost = "kubernetes.default.svc"
)

// builtinRules are names that the verdicts use themselves; a rule of that name would make a refusal ambiguous.
var builtinRules = map[string]bool{
	RuleDefault: true, RuleUnrecognised: true, RuleBuiltin: true, RuleRefusals: true, RuleEgress: true, RuleMasking: true, RuleInference: true, RuleConflict: true, RuleAccess: true,
}

func compileTarget(p *compiledPolicy, doc *Target) (*compiledTarget, error) {
	t := &compiledTarget{policy: p, target: doc, port: doc.Port}
	at := fmt.Sprintf("target %q", doc.Name)
	if doc.Name == "" {
		return nil, errors.New("target: name: must not be empty")
	}
	var rules []Rule
	set := 0
	if pg := doc.Postgres; pg != nil {
		set++
		t.protocol, t.fallback, t.unrecognised, rules = ProtocolPostgres, pg.DefaultAction, pg.Unrecognised, pg.Rules
		if err := checkPostgres(at, pg); err != nil {
			return nil, err
		}
		var err error
		if t.refusals, err = compileRefusals(&pg.Refusals); err != nil {
			return nil, fmt.Errorf("%s: %w", at, err)
		}
		t.defaultPort(defaultPostgresPort)
	}
	if ssh := doc.SSH; ssh != nil {
		set++
		t.protocol, t.fallback, rules = ProtocolSSH, ssh.DefaultAction, ssh.Rules
		if err := checkSSH(at, ssh); err != nil {
			return nil, err
		}
		t.defaultPort(defaultSSHPort)
	}
	if k := doc.Kubernetes; k != nil {
		set++
		t.protocol, t.fallback, rules = ProtocolKubernetes, k.DefaultAction, k.Rules
		t.defaultPort(defaultKubernetesPort)
	}
	if set != 1 {
		return nil, fmt.Errorf("%s: exactly one of postgres, ssh and kubernetes must be set, found %d", at, set)
	}
	if err := oneOf(at, "defaultAction", t.fallback, Deny, RequireApproval, Allow); err != nil {
		return nil, err
	}
	if t.fallback == "" {
		t.fallback = Deny
	}
	if t.unrecognised == "" {
		t.unrecognised = Deny
	}
	for _, h := range doc.Hosts {
		if err := checkHost(h); err != nil {
			return nil, fmt.Errorf("%s: hosts: %w", at, err)
		}
		t.hosts = append(t.hosts, foldHost(h))
	}
	if len(t.hosts) == 0 {
		if t.protocol != ProtocolKubernetes {
			return nil, fmt.Errorf("%s: hosts: at least one is needed", at)
		}
		t.hosts = []string{defaultKubernetesHost}
	}
	seen := make(map[string]bool, len(rules))
	for i := range rules {
		r, err := compileRule(t.protocol, &rules[i])
		if err != nil {
			return nil, fmt.Errorf("%s: rule %q: %w", at, rules[i].Name, err)
		}
		if seen[r.doc.Name] {
			return nil, fmt.Errorf("%s: rule %q: name: used by another rule of the target", at, r.doc.Name)
		}
		seen[r.doc.Name] = true
		t.rules = append(t.rules, r)
	}
	return t, nil
}

func (t *compiledTarget) defaultPort(port uint16) {
	if t.port == 0 {
		t.port = port
	}
}

func checkPostgres(at string, pg *Postgres) error {
	if err := oneOf(at, "postgres.tls.mode", pg.TLSMode, TLSVerifyFull, TLSVerifyCA, TLSRequire, TLSDisable); err != nil {
		return err
	}
	if err := oneOf(at, "postgres.unrecognised", pg.Unrecognised, Deny, RequireApproval); err != nil {
		return err
	}
	if err := oneOf(at, "postgres.inference", pg.Inference, Deny, RequireApproval); err != nil {
		return err
	}
	for i := range pg.Masking {
		m := &pg.Masking[i]
		if err := oneOf(at, fmt.Sprintf("postgres.masking[%d].method", i), m.Method, MaskRedact, MaskPartial, MaskHash, MaskNull); err != nil {
			return err
		}
		for _, c := range m.Columns {
			if _, err := compileGlob(c, 3); err != nil {
				return fmt.Errorf("%s: postgres.masking[%d].columns: %w", at, i, err)
			}
		}
	}
	return nil
}

func checkHost(h string) error {
	switch {
	case h == "":
		return errors.New("a host must not be empty")
	case strings.ContainsAny(h, "*?"):
		// The upstream is dialled by this name, so it has to be one.
		return fmt.Errorf("%q: a target's host is a name or an address, not a pattern", h)
	case strings.ContainsAny(h, " /\t\r\n\x00"):
		return fmt.Errorf("%q is not a host name or an address", h)
	}
	return nil
}
