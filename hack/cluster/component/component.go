// Package component builds the cluster's own programs from their Go modules.
package component

import (
	"fmt"
	"path"
	"time"
)

// Version is the Kubernetes that is built; the require lines of
// components/go.mod name the same one.
const Version = "v1.37.2"

// containerdVersion is what `ctr version` says.
const containerdVersion = "v2.4.2"

// tags are the same for every component, or packages they share would be
// compiled once for each. They leave out what the node does not use: gRPC's
// tracing (its templates keep the linker from dropping unused methods) and
// containerd's other snapshotters.
const tags = "grpcnotrace,notest,no_btrfs,no_zfs,no_devmapper,no_tracing"

// Component is one or several programs that one `go build` makes.
type Component struct {
	// Name is said while it is built and names its stamp.
	Name string
	// Packages are the main packages, in the components module.
	Packages []string
	// Variables are set in the link, "package.name=value".
	Variables []string
	// Folder receives the programs, below the cluster's folder.
	Folder string
	// Links are further names for the only program.
	Links []string
	// Expect is how long a build with a cold cache takes on two idle cores,
	// after the ones before it in All.
	Expect time.Duration
}

// Program is the file name that `go build` gives the i-th package.
func (c Component) Program(i int) string { return path.Base(c.Packages[i]) }

// Kube is every Kubernetes program, and etcd, in one executable.
var Kube = Component{
	Name:      "Kubernetes and etcd",
	Packages:  []string{"./kube"},
	Variables: kubeVersion(),
	Folder:    "bin",
	Links: []string{
		"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler",
		"kube-proxy", "kubelet", "kubeadm", "kubectl",
	},
	Expect: 7*time.Minute + 30*time.Second,
}

// Kubectl is kubectl alone, a third of the size of all of them together, for
// images.
var Kubectl = Component{
	Name:      "kubectl for images",
	Packages:  []string{"k8s.io/kubernetes/cmd/kubectl"},
	Variables: kubeVersion(),
	Folder:    "image-bin",
	Expect:    10 * time.Second,
}

// All is what a cluster needs, in the order that builds fastest.
var All = []Component{
	Kube,
	{
		Name:      "CoreDNS",
		Packages:  []string{"./coredns"},
		Folder:    "bin",
		Variables: []string{"github.com/coredns/coredns/coremain.GitCommit=module"},
		Expect:    20 * time.Second,
	},
	{
		Name: "containerd",
		Packages: []string{
			"github.com/containerd/containerd/v2/cmd/containerd",
			"github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2",
			"github.com/containerd/containerd/v2/cmd/ctr",
		},
		Variables: []string{"github.com/containerd/containerd/v2/version.Version=" + containerdVersion},
		Folder:    "bin",
		Expect:    40 * time.Second,
	},
	{
		Name: "network plugins",
		Packages: []string{
			"github.com/containernetworking/plugins/plugins/ipam/host-local",
			"github.com/containernetworking/plugins/plugins/main/bridge",
			"github.com/containernetworking/plugins/plugins/main/loopback",
			"github.com/containernetworking/plugins/plugins/meta/portmap",
		},
		Folder: "cni",
		Expect: 10 * time.Second,
	},
	{
		Name:     "pause",
		Packages: []string{"./pause"},
		Folder:   "bin",
		Expect:   time.Second,
	},
}

// kubeVersion fills in what a release's build would; without it kubectl warns
// of a skew with the server and the server calls itself v0.0.0-master.
func kubeVersion() []string {
	var major, minor, patch int
	if _, err := fmt.Sscanf(Version, "v%d.%d.%d", &major, &minor, &patch); err != nil {
		return nil
	}
	var variables []string
	for _, pkg := range []string{"k8s.io/component-base/version", "k8s.io/client-go/pkg/version"} {
		variables = append(variables,
			pkg+".gitVersion="+Version,
			fmt.Sprintf("%s.gitMajor=%d", pkg, major),
			fmt.Sprintf("%s.gitMinor=%d", pkg, minor),
			pkg+".gitTreeState=clean",
		)
	}
	return variables
}
