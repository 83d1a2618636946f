// Package wiring is what the benchmark of the PostgreSQL path tells the sidecar that it measures.
package wiring

import (
	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/postgres"
)

// Wiring is what the sidecar is told.
type Wiring struct {
	Policy           policy.Policy // of one target
	Upstream         string        // where it is
	User, Password   string
	Certificate, Key []byte // shown to agents
	Broker           string // address
	BrokerRoot       []byte
	Folder           string // its own
	Profile          string
	Driver           postgres.Driver
}
