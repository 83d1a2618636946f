package presence

import (
	"slices"
	"time"
)

// Role is what a leased credential turned out to be in its PostgreSQL server.
type Role struct {
	Policy string `json:"policy"` // namespace/name
	Target string `json:"target"`
	Name   string `json:"name"`
	// Powers are what the role may do beside reading and changing data.
	Powers []string  `json:"powers,omitempty"`
	Seen   time.Time `json:"seen"`
}

func (r Role) equal(o Role) bool {
	return r.Policy == o.Policy && r.Target == o.Target && r.Name == o.Name && slices.Equal(r.Powers, o.Powers) && r.Seen.Equal(o.Seen)
}
