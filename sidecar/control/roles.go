package control

import (
	"cmp"
	"slices"
	"sync"

	"github.com/chaperone-dev/chaperone/sidecar/control/controlpb"
	"github.com/chaperone-dev/chaperone/sidecar/session"
)

// maxRoles bounds what is reported; a pod has a handful of targets.
const maxRoles = 64

// roles are what leased credentials turned out to be, the last of each target. They go out with the next answer on the
// policies stream, half a minute later at most.
type roles struct {
	mu    sync.Mutex // guards found
	found map[leaseKey]*controlpb.Role
}

// Role keeps what was found to be reported.
func (c *Client) Role(r session.Role) {
	c.roles.mu.Lock()
	defer c.roles.mu.Unlock()
	key := leaseKey{r.Policy, r.Target}
	if c.roles.found == nil {
		c.roles.found = make(map[leaseKey]*controlpb.Role)
	}
	if c.roles.found[key] == nil && len(c.roles.found) >= maxRoles {
		return
	}
	c.roles.found[key] = &controlpb.Role{
		Policy: r.Policy, Target: r.Target, Name: r.Name, Powers: r.Powers, SeenUnixMs: c.options.Clock().UnixMilli(),
	}
}

// list returns all roles in the order of their targets.
func (r *roles) list() []*controlpb.Role {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]*controlpb.Role, 0, len(r.found))
	for _, role := range r.found {
		out = append(out, role)
	}
	slices.SortFunc(out, func(a, b *controlpb.Role) int {
		return cmp.Or(cmp.Compare(a.GetPolicy(), b.GetPolicy()), cmp.Compare(a.GetTarget(), b.GetTarget()))
	})
	return out
}
