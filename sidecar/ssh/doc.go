// Package ssh is the SSH protocol of the sidecar. It is the agent's server and the target's client: what an agent asks
// for is judged by the policy, forwarded with a credential that the agent never holds, masked on its way back and
// recorded. golang.org/x/crypto/ssh speaks the transport on both sides (RFC 4251 to 4254, OpenSSH's PROTOCOL).
package ssh
