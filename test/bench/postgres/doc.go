// Command postgres measures what the sidecar's PostgreSQL path costs: against one real PostgreSQL it runs the same
// work directly, through Debian's pgbouncer and through the sidecar, in turns, and prints ratios.
//
// The sidecar is a process of its own with the whole policy on: rules, masking by column and by detectors, limits,
// and a recording that is spooled and sent by gRPC to an operator that verifies and acknowledges it. pgbouncer runs
// with pool_mode=session and server_lifetime=0, so that each of its clients gets a new backend, as each client of the
// sidecar does.
//
// The machine's speed changes from minute to minute; so all peers take turns within each round of each case, ratios
// are taken within a round, and the table holds their medians.
package main
