// Package doctor finds out what is missing on a machine to run the cluster,
// and says what to do about it, before ten minutes are spent on building.
package doctor

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/chaperone-dev/chaperone/hack/cluster/cgroup"
	"github.com/chaperone-dev/chaperone/hack/cluster/component"
	"github.com/chaperone-dev/chaperone/hack/cluster/folder"
)

const (
	// buildDisk is what a cold build writes: 5.2 GB of build cache, 1.7 GB of
	// modules, 1 GB of programs, packages and images.
	buildDisk = 9 << 30
	// runDisk is what a cluster writes once it is built.
	runDisk = 2 << 30
	// memory is what a build's largest compiler or linker and a small cluster
	// take, whichever is more.
	memory = 2500 << 20
	// inotifyInstances is what the node's programs and a few pods hold.
	inotifyInstances = 64
)

// Problem is something that is missing.
type Problem struct {
	// Missing is what.
	Missing string
	// WayOut is what to do.
	WayOut string
}

// Report says all problems, and what else there is.
func Report(problems []Problem) string {
	var b strings.Builder
	fmt.Fprintln(&b, "the cluster cannot run here:")
	for _, p := range problems {
		fmt.Fprintf(&b, "  - %s\n    %s\n", p.Missing, p.WayOut)
	}
	b.WriteString("or use another cluster: CLUSTER=current for the one your kubeconfig names, CLUSTER=kind where Docker is")
	return b.String()
}

// Examine looks at everything that Start will need. What depends on root or on
// namespaces is only tried where there are those.
func Examine(f folder.Folder) []Problem {
	if runtime.GOOS != "linux" {
		return []Problem{{"this is " + runtime.GOOS, "run it on Linux, in a virtual machine if need be"}}
	}
	var problems []Problem
	problems = append(problems, programs()...)
	problems = append(problems, room(f)...)
	if os.Geteuid() != 0 {
		return append(problems, Problem{"not root", "run it as root (sudo -E env PATH=\"$PATH\" make cluster-up)"})
	}
	problems = append(problems, groups()...)
	problems = append(problems, sysctls()...)
	return append(problems, namespaces()...)
}

func programs() []Problem {
	var problems []Problem
	for _, p := range []struct{ name, from string }{
		{"apt-get", "this needs Debian or Ubuntu, from whose packages runc and nft are taken"},
		{"apt-config", "this needs Debian or Ubuntu, from whose packages runc and nft are taken"},
		{"dpkg-deb", "install the package dpkg"},
		{"go", "install Go: https://go.dev/doc/install"},
		{"mount", "install the package mount, whose program the kubelet calls"},
		{"umount", "install the package mount, whose program the kubelet calls"},
		{"nsenter", "install the package util-linux"},
	} {
		if _, err := exec.LookPath(p.name); err != nil {
			problems = append(problems, Problem{"no " + p.name, p.from})
		}
	}
	return problems
}

func room(f folder.Folder) []Problem {
	var problems []Problem
	need := uint64(buildDisk)
	if component.Built(f) {
		need = runDisk
	}
	var disk unix.Statfs_t
	if err := unix.Statfs(f.Root, &disk); err == nil {
		if free := disk.Bavail * uint64(disk.Bsize); free < need {
			problems = append(problems, Problem{
				fmt.Sprintf("%.1f GB of disk free at %s, not %.1f", float64(free)/(1<<30), f.Root, float64(need)/(1<<30)),
				"make room, or move the folder with " + folder.Env + " and Go's caches with GOCACHE and GOMODCACHE",
			})
		}
	}
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err == nil {
		if total := info.Totalram * uint64(info.Unit); total < memory {
			problems = append(problems, Problem{
				fmt.Sprintf("%.1f GB of memory, not %.1f", float64(total)/(1<<30), float64(memory)/(1<<30)),
				"give the machine more memory",
			})
		}
	}
	return problems
}

func groups() []Problem {
	mounted, err := cgroup.Mounted()
	if err != nil {
		return []Problem{{err.Error(), "mount /proc"}}
	}
	if missing := mounted.Missing(); len(missing) > 0 {
		return []Problem{{
			"no control group controller for " + strings.Join(missing, ", "),
			"boot with cgroup v2 (systemd.unified_cgroup_hierarchy=1), or mount them under /sys/fs/cgroup",
		}}
	}
	// The name of a running cluster's group is not touched.
	trial := fmt.Sprintf("chaperone-doctor-%d", os.Getpid())
	if err := mounted.Create(trial); err != nil {
		return []Problem{{err.Error(), "in a container, run it with --privileged --cgroupns=host"}}
	}
	if err := mounted.Remove(trial); err != nil {
		return []Problem{{err.Error(), "remove it by hand"}}
	}
	return nil
}

func sysctls() []Problem {
	var problems []Problem
	if _, err := os.Stat("/proc/sys/net/bridge/bridge-nf-call-iptables"); errors.Is(err, os.ErrNotExist) {
		problems = append(problems, Problem{"no bridge netfilter in the kernel", "modprobe br_netfilter"})
	}
	var instances int
	if data, err := os.ReadFile("/proc/sys/fs/inotify/max_user_instances"); err == nil {
		if _, err := fmt.Sscan(string(data), &instances); err == nil && instances < inotifyInstances {
			problems = append(problems, Problem{
				fmt.Sprintf("fs.inotify.max_user_instances is %d", instances),
				"sysctl fs.inotify.max_user_instances=512",
			})
		}
	}
	return problems
}
