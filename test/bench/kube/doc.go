// Command kube measures what the sidecar's Kubernetes path costs: against one real API server and the server that
// container runtimes have for exec, it does the same work directly and through the sidecar, in turns, and prints ratios.
//
// The sidecar is a process of its own with the whole policy on: rules, masking by detectors, and a recording that is
// spooled, verified and acknowledged. The containers' programs are this machine's.
package main
