package cgroup

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestParseMount(t *testing.T) {
	for name, tc := range map[string]struct {
		line                 string
		mount, kind, options string
	}{
		"a version 1 hierarchy": {
			"33 32 0:28 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:10 - cgroup cgroup rw,cpu,cpuacct",
			"/sys/fs/cgroup/cpu,cpuacct", "cgroup", "rw,cpu,cpuacct",
		},
		"the version 2 hierarchy without optional fields": {
			"30 24 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate",
			"/sys/fs/cgroup", "cgroup2", "rw,nsdelegate",
		},
		"a line without a separator is nothing": {"30 24 0:26 / /sys rw", "", "", ""},
		"an empty line is nothing":              {"", "", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			mount, kind, options := parseMount(tc.line)
			if mount != tc.mount || kind != tc.kind || options != tc.options {
				t.Errorf("got %q %q %q", mount, kind, options)
			}
		})
	}
}

func TestMissingNamesTheControllersThatAreNotThere(t *testing.T) {
	unified := t.TempDir()
	if err := os.WriteFile(filepath.Join(unified, "cgroup.controllers"), []byte("cpuset cpu io memory\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		hierarchies Hierarchies
		want        []string
	}{
		"version 2 without pids": {Hierarchies{Unified: unified}, []string{"pids"}},
		"version 1 with all": {Hierarchies{Legacy: map[string][]string{
			"a": {"rw", "cpu", "cpuacct"}, "b": {"cpuset"}, "c": {"memory"}, "d": {"pids"},
		}}, nil},
		"no hierarchy at all": {Hierarchies{}, needed},
	} {
		t.Run(name, func(t *testing.T) {
			if got := tc.hierarchies.Missing(); !slices.Equal(got, tc.want) {
				t.Errorf("got %v, want %v", got, tc.want)
			}
		})
	}
}

func TestRemoveTakesNestedGroupsInEveryHierarchy(t *testing.T) {
	a, b := t.TempDir(), t.TempDir()
	for _, dir := range []string{filepath.Join(a, "g", "pods", "one"), filepath.Join(b, "g"), filepath.Join(b, "other")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	h := Hierarchies{all: []string{a, b}}
	for range 2 { // removing what is not there is no error
		if err := h.Remove("g"); err != nil {
			t.Fatal(err)
		}
	}
	for _, gone := range []string{filepath.Join(a, "g"), filepath.Join(b, "g")} {
		if _, err := os.Stat(gone); err == nil {
			t.Errorf("%s is still there", gone)
		}
	}
	if _, err := os.Stat(filepath.Join(b, "other")); err != nil {
		t.Errorf("another group was removed: %v", err)
	}
}
