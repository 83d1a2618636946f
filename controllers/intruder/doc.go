// Package intruder deletes pods in which another container runs as the sidecar's uid, the one that the rules do
// not redirect.
package intruder
