package broker

import (
	"time"

	"github.com/chaperone-dev/chaperone/controllers/naming"
	"github.com/chaperone-dev/chaperone/controllers/presence"
	"github.com/chaperone-dev/chaperone/sidecar/control/controlpb"
)

// Bounds of what a sidecar may say of roles. A name in PostgreSQL has at most 63 bytes, one of an object in Kubernetes
// 253.
const (
	maxRoles    = 64
	maxPowers   = 16
	maxRoleName = 128
)

// rolesOf takes what a sidecar says of the roles that it logs in by, made harmless to read.
func rolesOf(in []*controlpb.Role) []presence.Role {
	var out []presence.Role
	for _, r := range in[:min(len(in), maxRoles)] {
		role := presence.Role{
			Policy: naming.Escape(r.GetPolicy(), maxName), Target: naming.Escape(r.GetTarget(), maxName),
			Name: naming.Escape(r.GetName(), maxRoleName), Seen: time.UnixMilli(r.GetSeenUnixMs()),
		}
		powers := r.GetPowers()
		for _, p := range powers[:min(len(powers), maxPowers)] {
			role.Powers = append(role.Powers, naming.Escape(p, maxRoleName))
		}
		out = append(out, role)
	}
	return out
}
