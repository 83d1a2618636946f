// Package spdy reads and writes the frames of SPDY/3.1 (draft-mbelshe-httpbis-spdy-00, with the dictionary of version 3),
// as Kubernetes speaks it for exec, attach and port-forward. Lengths are the peer's word: payloads are read as they come,
// and header blocks are bounded before and after they are inflated.
package spdy
