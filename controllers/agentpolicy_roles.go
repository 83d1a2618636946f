package controllers

import (
	"fmt"
	"slices"
	"strings"

	"github.com/chaperone-dev/chaperone/controllers/presence"
)

// privileges says what the roles of the policy's PostgreSQL targets may do, as the sidecars found when they logged in;
// an empty reason where none has.
func (o *observation) privileges() (reason, message string) {
	name := o.policy.Namespace + "/" + o.policy.Name
	newest := map[string]presence.Role{}
	for i := range o.pods {
		for _, r := range o.sidecars[o.pods[i].UID].Roles {
			if r.Policy == name && r.Seen.After(newest[r.Target].Seen) {
				newest[r.Target] = r
			}
		}
	}
	var limited, powerful []string
	for i := range o.policy.Spec.Targets {
		t := &o.policy.Spec.Targets[i]
		r, seen := newest[t.Name]
		if !seen || t.Postgres == nil || t.Postgres.Credentials == nil {
			continue
		}
		if len(r.Powers) == 0 {
			limited = append(limited, fmt.Sprintf("target %s logs in as %q", t.Name, r.Name))
			continue
		}
		powerful = append(powerful, fmt.Sprintf("target %s logs in as %q, which %s; give Secret %s a role without that: %s",
			t.Name, r.Name, holds(r.Powers), t.Postgres.Credentials.SecretRef.Name, remedy(r)))
	}
	switch {
	case powerful != nil:
		return ReasonPowerfulRole, strings.Join(powerful, "; ")
	case limited != nil:
		return ReasonRolesLimited, strings.Join(limited, "; ") + "; no such role is a superuser or reaches the server's files and programs"
	}
	return "", ""
}

// holds says what the powers are.
func holds(powers []string) string {
	if slices.Contains(powers, "SUPERUSER") {
		return "is a superuser: a statement that gets past the policy could do anything to the server"
	}
	return "has " + strings.Join(powers, ", ") + ", which reach more than data"
}

// remedy is what to run in the database.
func remedy(r presence.Role) string {
	role := `"` + strings.ReplaceAll(r.Name, `"`, `""`) + `"`
	var attributes, roles []string
	for _, p := range r.Powers {
		if strings.HasPrefix(p, "pg_") {
			roles = append(roles, p)
		} else {
			attributes = append(attributes, "NO"+p)
		}
	}
	var out []string
	if attributes != nil {
		out = append(out, fmt.Sprintf("ALTER ROLE %s %s", role, strings.Join(attributes, " ")))
	}
	if roles != nil {
		out = append(out, fmt.Sprintf("REVOKE %s FROM %s", strings.Join(roles, ", "), role))
	}
	return strings.Join(out, "; ")
}
