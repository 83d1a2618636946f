// Package postgres holds what an adversary tries against the PostgreSQL path of a sidecar, and the tests that try it:
// every case is run through a sidecar's own code against a real server, by a role that could do anything.
//
// A case is judged by what the adversary received, byte by byte, and by what the database holds afterwards:
//
//   - Nothing received may hold a protected value or a fragment of one, in any of the encodings that the oracle knows.
//   - The case runs against two databases that differ in protected values alone, and what is received must be the same
//     from both: whatever tells them apart is a leak, be it one bit.
//   - The database must be as it was; under a policy that allows changes, no protected value may stand where it is
//     not masked.
//
// Cases are data: one file a family under cases, each case a sentence and the statements of one session. Those that
// need single messages are tables in the tests. EVASION_CONTROL=1 runs the cases past the sidecar as well, and fails
// for one that does no harm there: it would prove nothing.
package postgres
