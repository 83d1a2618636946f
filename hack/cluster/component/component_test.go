package component

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chaperone-dev/chaperone/hack/cluster/folder"
)

func testFolder(t *testing.T) folder.Folder {
	t.Helper()
	source, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	return folder.Folder{Root: t.TempDir(), Source: source}
}

func TestFingerprint(t *testing.T) {
	f := testFolder(t)
	base, err := Kube.fingerprint(f, "go1.26.8 amd64")
	if err != nil {
		t.Fatal(err)
	}
	other := Kube
	other.Variables = append([]string{"main.x=y"}, Kube.Variables...)
	for name, tc := range map[string]struct {
		component Component
		toolchain string
		same      bool
	}{
		"the same inputs give the same fingerprint":   {Kube, "go1.26.8 amd64", true},
		"another toolchain gives another fingerprint": {Kube, "go1.26.9 amd64", false},
		"another flag gives another fingerprint":      {other, "go1.26.8 amd64", false},
		"another package gives another fingerprint":   {Kubectl, "go1.26.8 amd64", false},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := tc.component.fingerprint(f, tc.toolchain)
			if err != nil {
				t.Fatal(err)
			}
			if (got == base) != tc.same {
				t.Errorf("same fingerprint: %v, want %v", got == base, tc.same)
			}
		})
	}
}

func TestCurrent(t *testing.T) {
	f := testFolder(t)
	c := Component{Packages: []string{"./pause"}, Folder: "bin", Links: []string{"also"}}
	if err := os.MkdirAll(f.Bin(""), 0o755); err != nil {
		t.Fatal(err)
	}
	steps := []struct {
		name string
		do   func() error
		want bool
	}{
		{"nothing was built", func() error { return nil }, false},
		{"only the stamp is there", func() error { return writeStamp(f.Stamp(c.stamp()), "a") }, false},
		{"a link is missing", func() error { return os.WriteFile(f.Bin("pause"), nil, 0o755) }, false},
		{"everything is there", func() error { return relink("pause", f.Bin("also")) }, true},
		{"it was built from something else", func() error { return writeStamp(f.Stamp(c.stamp()), "b") }, false},
	}
	for _, step := range steps {
		if err := step.do(); err != nil {
			t.Fatal(err)
		}
		if got := c.current(f, "a"); got != step.want {
			t.Errorf("%s: current is %v, want %v", step.name, got, step.want)
		}
	}
}

func TestTheVersionsBuiltAreTheOnesRequired(t *testing.T) {
	f := testFolder(t)
	mod, err := os.ReadFile(filepath.Join(f.Source, "components", "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"k8s.io/kubernetes " + Version,
		"k8s.io/client-go " + strings.Replace(Version, "v1.", "v0.", 1),
		"github.com/containerd/containerd/v2 " + containerdVersion,
	} {
		if !strings.Contains(string(mod), want) {
			t.Errorf("components/go.mod does not require %q", want)
		}
	}
}

func TestKubeVersionNamesTheRelease(t *testing.T) {
	got := strings.Join(kubeVersion(), " ")
	for _, want := range []string{"gitVersion=" + Version, "gitMajor=1", "gitMinor=37"} {
		if strings.Count(got, want) != 2 {
			t.Errorf("%q is set %d times, want once for each of the two packages: %s", want, strings.Count(got, want), got)
		}
	}
}
