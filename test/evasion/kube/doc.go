// Package kube holds what an adversary tries against the Kubernetes path of a sidecar, and the tests that try it: every
// case is run through the sidecar's own code against a real API server, behind which is the server that container runtimes
// have for exec, attach and port-forward.
//
// A case is judged by what the API server or the container then saw, not by what the sidecar says of it: a command that
// was refused carries a word that no container may have been told, a port that was refused may have had no connection,
// and what the adversary received may hold no protected value. The sidecar has to live on: each family ends with an exec
// that is allowed.
package kube
