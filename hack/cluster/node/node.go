// Package node is the cluster's one machine: namespaces of its own on the
// host, in which the Kubernetes programs run as they would on a real one.
package node

import (
	"fmt"
	"os"

	"github.com/chaperone-dev/chaperone/hack/cluster/folder"
)

// The node's network exists in its own namespace alone, so these ranges collide
// with nothing on the host. The IPv6 ones are unique local (RFC 4193).
const (
	Name = "chaperone"

	address4       = "10.97.0.2"
	gateway4       = "10.97.0.1"
	nodePrefix4    = 24
	podRange4      = "10.98.0.0/16"
	serviceRange4  = "10.99.0.0/16"
	dnsAddress4    = "10.99.0.10"
	address6       = "fd97:c4a9:e70e:97::2"
	gateway6       = "fd97:c4a9:e70e:97::1"
	nodePrefix6    = 64
	podRange6      = "fd97:c4a9:e70e:98::/64"
	serviceRange6  = "fd97:c4a9:e70e:99::/112"
	dnsAddress6    = "fd97:c4a9:e70e:99::a"
	clusterDomain  = "cluster.local"
	outside        = "outside"
	hostPathFolder = "/tmp/hostpath_pv"
)

// APIServer is where the API server listens inside the node's network.
const APIServer = "127.0.0.1:6443"

// OutsideNetwork is the file that names the network beside the node's, in the
// node's own file system.
const OutsideNetwork = "/run/netns/" + outside

// Node is one run of it.
type Node struct {
	Folder folder.Folder
	// IPv6 says whether the kernel has it; pods are dual-stack then.
	IPv6 bool
	// Overlay says whether the cluster's folder can hold overlay mounts;
	// images are copied in full where it cannot.
	Overlay bool
}

// New looks at what the machine offers.
func New(f folder.Folder) Node {
	_, err := os.Stat("/proc/sys/net/ipv6")
	return Node{Folder: f, IPv6: err == nil}
}

// Phase says, for those who wait, what the node is doing.
func (n Node) phase(what string) error {
	if err := os.WriteFile(n.Folder.State("phase"), []byte(what), 0o644); err != nil {
		return fmt.Errorf("noting the phase %q: %w", what, err)
	}
	return nil
}
