// Package cgroup makes the control group that holds the cluster's pods, and
// removes it after them.
package cgroup

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// needed are the controllers without which the kubelet does not start
// (k8s.io/kubernetes/pkg/kubelet/cm); version 2 has cpuacct inside cpu.
var needed = []string{"cpu", "cpuset", "memory", "pids"}

// removeTimeout is how long a group may stay busy after its last process was
// killed, while the kernel still tears that down.
const removeTimeout = 10 * time.Second

// Hierarchies are the mounted ones.
type Hierarchies struct {
	// Unified is the mount point of a version 2 hierarchy that has controllers;
	// empty on version 1.
	Unified string
	// Legacy maps each version 1 mount point to its controllers.
	Legacy map[string][]string
	// all are the mount points of either version, with controllers or without:
	// runc leaves a group in a version 2 hierarchy that has none, too.
	all []string
}

// Mounted reads the hierarchies from the kernel's table of this process.
func Mounted() (Hierarchies, error) {
	file, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return Hierarchies{}, fmt.Errorf("listing mounts: %w", err)
	}
	defer file.Close()
	h := Hierarchies{Legacy: map[string][]string{}}
	for scanner := bufio.NewScanner(file); scanner.Scan(); {
		mount, kind, options := parseMount(scanner.Text())
		switch kind {
		case "cgroup2":
			h.all = append(h.all, mount)
			controllers, err := os.ReadFile(filepath.Join(mount, "cgroup.controllers"))
			if err == nil && strings.Contains(" "+strings.TrimSpace(string(controllers))+" ", " memory ") {
				h.Unified = mount
			}
		case "cgroup":
			h.all = append(h.all, mount)
			h.Legacy[mount] = strings.Split(options, ",")
		}
	}
	return h, nil
}

// parseMount reads a line of mountinfo (proc_pid_mountinfo(5)): the mount point
// is its fifth field, the type and super options follow a lone hyphen.
func parseMount(line string) (mount, kind, options string) {
	before, after, ok := strings.Cut(line, " - ")
	fields, tail := strings.Fields(before), strings.Fields(after)
	if !ok || len(fields) < 5 || len(tail) < 3 {
		return "", "", ""
	}
	return fields[4], tail[0], tail[2]
}

// Missing names the controllers that the kubelet needs and the machine does
// not offer.
func (h Hierarchies) Missing() []string {
	var have []string
	if h.Unified != "" {
		data, err := os.ReadFile(filepath.Join(h.Unified, "cgroup.controllers"))
		if err == nil {
			have = strings.Fields(string(data))
		}
	} else {
		for _, controllers := range h.Legacy {
			have = append(have, controllers...)
		}
	}
	var missing []string
	for _, c := range needed {
		if !slices.Contains(have, c) {
			missing = append(missing, c)
		}
	}
	return missing
}

func (h Hierarchies) roots() []string {
	if h.Unified != "" {
		return []string{h.Unified}
	}
	roots := make([]string, 0, len(h.Legacy))
	for mount := range h.Legacy {
		roots = append(roots, mount)
	}
	slices.Sort(roots)
	return roots
}

// Create makes the named group in every hierarchy.
func (h Hierarchies) Create(name string) error {
	for _, root := range h.roots() {
		dir := filepath.Join(root, name)
		if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("creating control group %s: %w", dir, err)
		}
		if err := inheritCPUSet(root, dir); err != nil {
			return err
		}
	}
	if h.Unified == "" {
		return nil
	}
	return delegate(h.Unified, name)
}

// inheritCPUSet fills in what a new version 1 cpuset starts without, and what
// no process may join it without (cpuset(7)).
func inheritCPUSet(root, dir string) error {
	for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
		value, err := os.ReadFile(filepath.Join(root, file))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return fmt.Errorf("reading the machine's cpuset: %w", err)
		}
		if err := os.WriteFile(filepath.Join(dir, file), value, 0o644); err != nil {
			return fmt.Errorf("filling control group %s: %w", dir, err)
		}
	}
	return nil
}

// delegate lets children of the group use the controllers, which version 2
// wants switched on at every level above them.
func delegate(mount, name string) error {
	for _, dir := range []string{mount, filepath.Join(mount, name)} {
		for _, c := range needed {
			err := os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+"+c), 0o644)
			if errors.Is(err, syscall.EBUSY) {
				return fmt.Errorf("switching on controller %s in %s: processes sit in that group itself; start from a group of their own, or in a container run it with --cgroupns=host", c, dir)
			} else if err != nil {
				return fmt.Errorf("switching on controller %s in %s: %w", c, dir, err)
			}
		}
	}
	return nil
}

// Remove deletes the named group and all below it from every hierarchy. Their
// processes must be gone.
func (h Hierarchies) Remove(name string) error {
	deadline := time.Now().Add(removeTimeout)
	for _, root := range h.all {
		for {
			err := removeTree(filepath.Join(root, name))
			if err == nil {
				break
			}
			if !errors.Is(err, syscall.EBUSY) || time.Now().After(deadline) {
				return fmt.Errorf("removing control group %s: %w", name, err)
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	return nil
}

// removeTree removes directories from the leaves up; the files in a group are
// the kernel's and go with it.
func removeTree(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() {
			if err := removeTree(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	if err := syscall.Rmdir(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
