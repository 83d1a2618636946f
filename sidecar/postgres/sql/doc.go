// Package sql understands PostgreSQL statements: what each does, to which objects, and where each output column
// comes from. It reads with PostgreSQL's own grammar and is pure: no sockets, no catalogue access of its own.
//
// What it cannot understand it says so, and its callers refuse.
package sql
