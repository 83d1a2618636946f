// Package control is the sidecar's end of the stream to the operator's broker: policies and leased credentials in,
// approval requests and recordings out.
//
// The operator is trusted and may be away: the last policies and unexpired leases stand up to their stated age,
// approvals and new leases fail closed, recordings stay in the spool.
package control
