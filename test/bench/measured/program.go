package measured

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strconv"

	"github.com/chaperone-dev/chaperone/test/bench/process"
)

// Build makes the program of a package, linked as the image's is.
func Build(ctx context.Context, pkg, file string) error {
	build := exec.CommandContext(ctx, "go", "build", "-tags", "netgo,osusergo",
		"-ldflags", `-s -w -linkmode external -extldflags "-static"`, "-o", file, pkg)
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("building %s: %w: %s", pkg, err, out)
	}
	return nil
}

// memory is what the chart gives a sidecar, in bytes; Go's limit is four fifths of it, as in injected pods.
const memory = 128 << 20

// Start runs a program that Build made and tells it what it needs to know. It returns where the program listens.
func Start(ctx context.Context, file string, wiring any) (*process.Process, netip.AddrPort, error) {
	var at netip.AddrPort
	told, err := json.Marshal(wiring)
	if err != nil {
		return nil, at, err
	}
	cmd := exec.CommandContext(ctx, file)
	cmd.Stdin = bytes.NewReader(told)
	// The shipped program does not link what reads the heap's profile, and so keeps none; this one does for its CPU profile.
	cmd.Env = append(os.Environ(), "GOMEMLIMIT="+strconv.Itoa(memory/5*4), "GODEBUG=memprofilerate=0")
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, at, err
	}
	p, err := process.Launch(cmd)
	if err != nil {
		return nil, at, err
	}
	line, _, err := bufio.NewReader(out).ReadLine()
	if err == nil {
		at, err = netip.ParseAddrPort(string(line))
	}
	if err != nil {
		<-p.Exited()
		return nil, at, fmt.Errorf("the sidecar does not say where it listens: %w: %s", err, p.Errors())
	}
	return p, at, nil
}
