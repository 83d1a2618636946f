// Command ssh measures what the sidecar's SSH path costs: OpenSSH's and Go's clients do the same work with an sshd directly
// and through a sidecar in a process of its own, in turns within one run, so that what else the machine does falls on
// both. The sidecar judges by rules, masks with two detectors and records to its spool; an operator in the same
// process acknowledges every chunk at once.
package main
