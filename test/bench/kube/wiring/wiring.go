// Package wiring is what the benchmark of the Kubernetes path tells the sidecar that it measures.
package wiring

// Pod is whom the agents' authority is for.
const Pod = "prod/bench"

// Wiring is what the sidecar is told.
type Wiring struct {
	Upstream string // where the API server is
	Folder   string // with kube-token and kube-ca.crt; for the agents' authority and the spool
	Profile  string
}
