// Package record keeps the log of what an agent ran and saw: events, chunks, the hash chain that binds them,
// the spool that holds them until the operator has them, and the formats they are read in.
package record
