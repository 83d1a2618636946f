// Package folder says where the local cluster keeps its files: everything it
// builds, downloads, writes and logs is under one ignored folder.
package folder

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Env names the variable that moves the folder elsewhere.
const Env = "CHAPERONE_CLUSTER_DIR"

// socketPathMax is what sockaddr_un.sun_path holds, less its final zero
// (unix(7)); a longer path cannot be listened on.
const socketPathMax = 107

// Folder is the root of the local cluster's files. What is built or downloaded
// stays when the cluster goes down; what is under state goes with it.
type Folder struct {
	// Root is an absolute path without symbolic links.
	Root string
	// Source is the hack/cluster folder of the repository.
	Source string
}

// Find locates the repository from the working directory and the folder from
// Env, which defaults to .cluster at the repository's root. It creates the
// folder.
func Find() (Folder, error) {
	wd, err := os.Getwd()
	if err != nil {
		return Folder{}, fmt.Errorf("finding the working directory: %w", err)
	}
	source, err := sourceAbove(wd)
	if err != nil {
		return Folder{}, err
	}
	root := os.Getenv(Env)
	if root == "" {
		root = filepath.Join(source, "..", "..", ".cluster")
	}
	return At(root, source)
}

// At is the folder with the given root, which it creates.
func At(root, source string) (Folder, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return Folder{}, fmt.Errorf("resolving the cluster's folder %s: %w", root, err)
	}
	if err := os.MkdirAll(root, 0o755); err != nil {
		return Folder{}, fmt.Errorf("creating the cluster's folder: %w", err)
	}
	if root, err = filepath.EvalSymlinks(root); err != nil {
		return Folder{}, fmt.Errorf("resolving the cluster's folder: %w", err)
	}
	f := Folder{Root: root, Source: source}
	if n := len(f.ContainerdSocket()); n > socketPathMax {
		return Folder{}, fmt.Errorf("the cluster's folder %s is %d characters too deep for a socket in it: set %s to a shorter path", root, n-socketPathMax, Env)
	}
	return f, nil
}

func sourceAbove(dir string) (string, error) {
	for d := dir; ; d = filepath.Dir(d) {
		for _, candidate := range []string{d, filepath.Join(d, "hack", "cluster")} {
			if _, err := os.Stat(filepath.Join(candidate, "components", "kube", "main.go")); err == nil {
				return candidate, nil
			} else if !errors.Is(err, os.ErrNotExist) {
				return "", fmt.Errorf("looking for hack/cluster: %w", err)
			}
		}
		if d == filepath.Dir(d) {
			return "", fmt.Errorf("no hack/cluster above %s: run this inside the repository", dir)
		}
	}
}

func (f Folder) at(parts ...string) string {
	return filepath.Join(append([]string{f.Root}, parts...)...)
}

// Bin is where a built program is.
func (f Folder) Bin(name string) string { return f.at("bin", name) }

// Path is the folder of programs meant for a user's PATH.
func (f Folder) Path() string { return f.at("path") }

// Assets is what KUBEBUILDER_ASSETS is set to.
func (f Folder) Assets() string { return f.at("assets") }

// CNI is the folder of network plugins.
func (f Folder) CNI() string { return f.at("cni") }

// Debian holds package lists, downloaded packages and those unpacked.
func (f Folder) Debian(parts ...string) string {
	return f.at(append([]string{"debian"}, parts...)...)
}

// Tool is a program unpacked from a Debian package for the node.
func (f Folder) Tool(name string) string { return f.at("debian", "node", "usr", "sbin", name) }

// Image is the archive of a named image.
func (f Folder) Image(name string) string { return f.at("images", name+".tar") }

// Stamp holds the fingerprint of what something was last built from.
func (f Folder) Stamp(name string) string { return f.at("stamp", name) }

// Log is a component's log. It outlives the cluster and is emptied by the next
// start.
func (f Folder) Log(name string) string { return f.at("log", name+".log") }

// State is a path that goes when the cluster goes down.
func (f Folder) State(parts ...string) string {
	return f.at(append([]string{"state"}, parts...)...)
}

// Kubeconfig is for use from the host.
func (f Folder) Kubeconfig() string { return f.at("kubeconfig") }

// ContainerdSocket is reachable from the host: a socket with a path belongs to
// a file system, not to a network namespace.
func (f Folder) ContainerdSocket() string { return f.State("containerd.sock") }

// RunLock is held by the supervisor for as long as the cluster runs; its
// content is the supervisor's process id.
func (f Folder) RunLock() string { return f.at("run.lock") }

// BuildLock lets one build run at a time.
func (f Folder) BuildLock() string { return f.at("build.lock") }

// CommandLock lets one start or stop run at a time.
func (f Folder) CommandLock() string { return f.at("command.lock") }

// Cgroup names the cluster's control group. It is the same at every start, so
// that a later one can clear away after a crash, and differs between two
// clusters on one machine.
func (f Folder) Cgroup() string {
	sum := sha256.Sum256([]byte(f.Root))
	return "chaperone-" + hex.EncodeToString(sum[:4])
}
