// Package sasl is the server's side of SCRAM-SHA-256, with and without channel binding, as PostgreSQL speaks it: what an
// agent answers to the request for a password, and what it is told. It does no I/O.
package sasl
