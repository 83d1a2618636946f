// Package wire is one PostgreSQL session between an agent and a server, as a state machine without I/O.
//
// Whoever runs it gives it the bytes that either side sent and sends on what it has for either side; it judges
// every statement on the way, holds what needs a person's approval, masks what comes back and says what to
// record. It knows no sockets and no clock, so that it can be tested and fuzzed without them and so that several
// drivers can run it.
//
// Framing is its own: message lengths are checked before anything is decoded, and only messages that are judged
// or masked are ever held whole. docs/adr/0002-pgproto3-v2.md says what the pgproto3 package is used for.
package wire
