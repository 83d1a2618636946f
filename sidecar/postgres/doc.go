// Package postgres serves agents that speak PostgreSQL: it ends their connection, TLS and start-up on the pod's
// side, makes its own connection to the target with leased credentials, and runs the session between the two
// (package wire) with one goroutine a direction.
package postgres
