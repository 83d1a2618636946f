// Package wiring is what the benchmark of the SSH path tells the sidecar that it measures.
package wiring

// Wiring is what the sidecar is told.
type Wiring struct {
	Upstream   string // where the server is
	Host, User string
	KnownHosts []byte
	Key        []byte // the credential
	Folder     string // with the host keys, and for the spool
	Profile    string
}
