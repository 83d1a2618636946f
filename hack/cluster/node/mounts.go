package node

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// expectedSysctls are those the kubelet wants, and would otherwise set for the
// whole machine (k8s.io/component-helpers/node/util/sysctl).
var expectedSysctls = map[string]string{
	"vm/overcommit_memory":      "1",
	"vm/panic_on_oom":           "0",
	"kernel/panic":              "10",
	"kernel/panic_on_oops":      "1",
	"kernel/keys/root_maxkeys":  "1000000",
	"kernel/keys/root_maxbytes": "25000000",
}

// replaced are the host's folders that the node has its own of. Kubernetes has
// these paths built in.
var replaced = map[string]string{
	"/var/lib": "lib",
	"/var/log": "varlog",
	"/tmp":     "tmp",
}

// mountAll gives the node a file system of its own: the host's, with private
// folders in the places that Kubernetes writes to.
func (n *Node) mountAll() error {
	// Private first, so that nothing below reaches the host; then shared, which
	// volumes with mount propagation need among the node's own namespaces.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("cutting mounts off from the host: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SHARED, ""); err != nil {
		return fmt.Errorf("making mounts shared: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mounting /proc: %w", err)
	}
	root, err := unix.Open(n.Folder.Root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("opening %s: %w", n.Folder.Root, err)
	}
	defer unix.Close(root)
	if err := unix.Mount("run", "/run", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755"); err != nil {
		return fmt.Errorf("mounting /run: %w", err)
	}
	for path, name := range replaced {
		if err := os.MkdirAll(n.Folder.State(name), 0o755); err != nil {
			return fmt.Errorf("making the node's %s: %w", path, err)
		}
	}
	if err := os.Chmod(n.Folder.State("tmp"), 0o1777); err != nil {
		return fmt.Errorf("making the node's /tmp: %w", err)
	}
	n.Overlay = canOverlay(n.Folder.State("overlay")) == nil
	fds := fmt.Sprintf("/proc/self/fd/%d", root)
	for path, name := range replaced {
		if err := unix.Mount(filepath.Join(fds, "state", name), path, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("replacing %s: %w", path, err)
		}
	}
	if err := keepVisible(n.Folder.Root, fds); err != nil {
		return err
	}
	return n.maskSysctls()
}

// keepVisible puts the cluster's folder back where it was when it lies under
// one of the folders that were just replaced.
func keepVisible(path, open string) error {
	var want, got unix.Stat_t
	if err := unix.Stat(open, &want); err != nil {
		return fmt.Errorf("looking at %s: %w", path, err)
	}
	err := unix.Stat(path, &got)
	if err == nil && got.Dev == want.Dev && got.Ino == want.Ino {
		return nil
	}
	if err != nil && !errors.Is(err, syscall.ENOENT) {
		return fmt.Errorf("looking at %s: %w", path, err)
	}
	if err := os.MkdirAll(path, 0o755); err != nil {
		return fmt.Errorf("keeping %s visible: %w", path, err)
	}
	if err := unix.Mount(open, path, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("keeping %s visible: %w", path, err)
	}
	return nil
}

// maskSysctls shows the node the values it wants instead of writing them.
func (n *Node) maskSysctls() error {
	for name, value := range expectedSysctls {
		file := n.Folder.State("sysctl", filepath.Base(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return fmt.Errorf("preparing sysctl values: %w", err)
		}
		if err := os.WriteFile(file, []byte(value+"\n"), 0o644); err != nil {
			return fmt.Errorf("preparing sysctl values: %w", err)
		}
		target := filepath.Join("/proc/sys", name)
		if err := unix.Mount(file, target, "", unix.MS_BIND, ""); err != nil && !errors.Is(err, syscall.ENOENT) {
			return fmt.Errorf("masking %s: %w", target, err)
		}
	}
	return nil
}

// canOverlay tries an overlay mount in dir. A folder that is itself on an
// overlay, as in a container's own file system, cannot hold one.
func canOverlay(dir string) error {
	for _, sub := range []string{"lower", "upper", "work", "merged"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return fmt.Errorf("trying an overlay mount: %w", err)
		}
	}
	options := fmt.Sprintf("lowerdir=%[1]s/lower,upperdir=%[1]s/upper,workdir=%[1]s/work", dir)
	merged := filepath.Join(dir, "merged")
	if err := unix.Mount("overlay", merged, "overlay", 0, options); err != nil {
		return fmt.Errorf("trying an overlay mount: %w", err)
	}
	if err := unix.Unmount(merged, 0); err != nil {
		return fmt.Errorf("trying an overlay mount: %w", err)
	}
	return nil
}
