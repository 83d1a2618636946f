package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-dev/chaperone/sidecar/redirect/netlab"
)

// What an idle sidecar may hold, in KiB. Private memory is what a further sidecar costs a node. The rest of what is
// resident are the program's own pages, which all sidecars of a node share; how many of them count as resident is
// the kernel's choice, which since Linux 6.18 maps them by up to 2 MiB at once.
const (
	maxPrivate  = 8 << 10
	maxResident = 16 << 10
)

// The program as it is shipped: static, without the test binary's own weight.
func TestAnIdleSidecarIsSmall(t *testing.T) {
	program := filepath.Join(t.TempDir(), "sidecar")
	build := exec.Command("go", "build", "-tags", "netgo,osusergo", "-ldflags", `-s -w -linkmode external -extldflags "-static"`, "-o", program, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=1")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building: %v\n%s", err, out)
	}
	// The directory of a test is root's alone.
	for dir := filepath.Dir(program); dir != os.TempDir(); dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	c := newPod(t)
	b := c.newBroker()
	c.redirect()
	b.publish(t, letting("1", "api.llm.example"))
	b.serve(c)
	cmd := exec.Command(program, "run")
	cmd.Env = append(append(os.Environ(), c.env...), "GOMEMLIMIT=107374182")
	netlab.Run(t, ourUID, cmd)
	becomes(t, "ready", c.ready)
	time.Sleep(settled + 3*time.Second)
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(content)) {
		var name string
		var kib int
		if n, _ := fmt.Sscanf(line, "%s %d kB", &name, &kib); n < 2 {
			continue
		}
		switch {
		case name == "RssAnon:" && kib > maxPrivate, name == "VmRSS:" && kib > maxResident:
			t.Errorf("%s %d KiB is more than it may be", name, kib)
		case strings.HasPrefix(name, "Rss"), name == "VmRSS:", name == "VmHWM:":
			t.Log(strings.TrimSpace(line))
		}
	}
}
