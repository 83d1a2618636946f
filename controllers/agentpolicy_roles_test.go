package controllers

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
	"github.com/chaperone-dev/chaperone/controllers/presence"
)

func TestRolesThatReachMoreThanData(t *testing.T) {
	a, b := pod("a", true, noon), pod("b", true, noon)
	role := func(name string, age time.Duration, powers ...string) presence.Role {
		return presence.Role{Policy: "agents/billing", Target: "billing", Name: name, Powers: powers, Seen: noon.Add(-age)}
	}
	of := func(policy, target string, r presence.Role) presence.Role {
		r.Policy, r.Target = policy, target
		return r
	}
	for name, c := range map[string]struct {
		a, b   []presence.Role
		reason string // empty: no condition
		says   []string
	}{
		"when nobody has logged in yet": {},
		"when the role has no power": {
			a: []presence.Role{role("app", 0)}, reason: ReasonRolesLimited, says: []string{`target billing logs in as "app"`},
		},
		"when the role is a superuser": {
			a: []presence.Role{role("app", 0, "SUPERUSER", "REPLICATION")}, reason: ReasonPowerfulRole,
			says: []string{"is a superuser", "give Secret billing-db a role without that", `ALTER ROLE "app" NOSUPERUSER NOREPLICATION`},
		},
		"when the role reaches the server's programs": {
			a: []presence.Role{role(`a"b`, 0, "pg_execute_server_program", "pg_read_server_files")}, reason: ReasonPowerfulRole,
			says: []string{"has pg_execute_server_program, pg_read_server_files", `REVOKE pg_execute_server_program, pg_read_server_files FROM "a""b"`},
		},
		"when it was powerful before the last look of another sidecar": {
			a: []presence.Role{role("app", time.Hour, "SUPERUSER")}, b: []presence.Role{role("app", 0)}, reason: ReasonRolesLimited,
		},
		"when another policy's role is powerful": {
			a: []presence.Role{of("agents/other", "billing", role("app", 0, "SUPERUSER"))},
		},
		"when the target is no longer in the policy": {
			a: []presence.Role{of("agents/billing", "gone", role("app", 0, "SUPERUSER"))},
		},
		"when the target takes the agent's own user": {
			a: []presence.Role{of("agents/billing", "own", role("app", 0, "SUPERUSER"))},
		},
	} {
		t.Run(name, func(t *testing.T) {
			credentials := &v1alpha1.Credentials{SecretRef: v1alpha1.SecretRef{Name: "billing-db"}}
			o := &observation{
				policy: &v1alpha1.AgentPolicy{
					ObjectMeta: metav1.ObjectMeta{Name: "billing", Namespace: "agents"},
					Spec: v1alpha1.AgentPolicySpec{Targets: []v1alpha1.Target{
						{Name: "billing", Postgres: &v1alpha1.PostgresTarget{Credentials: credentials}}, {Name: "own", Postgres: &v1alpha1.PostgresTarget{}},
					}},
				},
				namespace: &corev1.Namespace{}, pods: []corev1.Pod{a, b}, now: noon,
				sidecars: map[types.UID]presence.Sidecar{a.UID: {Roles: c.a}, b.UID: {Roles: c.b}},
			}
			// A condition that no longer has a reason goes away.
			o.policy.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionLeastPrivilege, Status: metav1.ConditionFalse, Reason: "Old"}}
			got := meta.FindStatusCondition(policyStatus(o).Conditions, v1alpha1.ConditionLeastPrivilege)
			if c.reason == "" {
				if got != nil {
					t.Fatalf("got %+v", got)
				}
				return
			}
			if got == nil || got.Reason != c.reason || (got.Status == metav1.ConditionTrue) != (c.reason == ReasonRolesLimited) {
				t.Fatalf("got %+v", got)
			}
			for _, s := range c.says {
				if !strings.Contains(got.Message, s) {
					t.Errorf("%q does not say %q", got.Message, s)
				}
			}
		})
	}
}
