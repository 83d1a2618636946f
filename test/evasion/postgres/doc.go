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
// What is tried, and where:
//
//   - Lexical tricks (quotes, dollar quotes, escapes and their continuation, comments, carriage returns, Unicode): "around
//     the rules"; zero bytes: "hostile messages"; padding and size: "behind padding" and "of nesting".
//   - Settings that change what later text means (how strings are read, encodings, search_path by every road, roles,
//     authorizations, temporary tables that shadow a name): "around the rules" and "start-up packets".
//   - Statements inside others (several in one string, PREPARE, cursors, DO, EXPLAIN ANALYZE, WITH, MERGE, SELECT INTO, COPY of
//     a deletion), rules and triggers: "around the rules", "laundering", "other roads to a column".
//   - What changes between Parse, Bind and Execute, names used again, work behind a refusal: "what changes between Parse and
//     Bind", "past a refusal", and the prepared statements of "other roads to a column". An approval that is for other
//     values or another path: the approval tests of sidecar/postgres.
//   - Computing on a protected column, whole rows, casts, aggregates, functions and operators of the database: "computing on a
//     column"; views, joins, set operations, binary results, portals, COPY: "other roads to a column".
//   - Carrying a value elsewhere (tables, large objects, notifications, settings and what is reported of them, sequences,
//     locks, other names for the column): "laundering". Parameters that a function sets: TestMaskedParameters of
//     sidecar/postgres.
//   - Side channels (predicates, ordering, grouping, errors that some values cause, indexes and constraints that hold or do
//     not): "learning by inference"; plans, statistics, notices and errors: "other roads to a column".
//   - SQL as text, the server's files, programs, passwords, replication: "around the rules" and "other roads to a column".
//   - Lengths, half messages, floods of messages, names and connections, cancel keys: "hostile messages", "half messages",
//     "floods", "cancel keys". Answers to a request for a password: TestHostileAuthentication of sidecar/postgres.
//
// Cases are data: one file a family under cases, each case a sentence and the statements of one session. Those that
// need single messages are tables in the tests. EVASION_CONTROL=1 runs the cases past the sidecar as well, and fails
// for one that does no harm there: it would prove nothing.
package postgres
