package confine

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// hostile runs a confined process that does what it is told.
func hostile(t *testing.T, program, what string) (stdout, stderr string, state *os.ProcessState) {
	t.Helper()
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(t.Context(), program, what)
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.Env = []string{"GOMAXPROCS=1", "GOTRACEBACK=none"}
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState
}

func TestAConfinedProcessReachesNothing(t *testing.T) {
	program := filepath.Join(t.TempDir(), "hostile")
	build := exec.Command("go", "build", "-tags", "netgo,osusergo", "-o", program, "./testdata/hostile")
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // as cmd/script is built
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building: %v\n%s", err, out)
	}
	t.Run("nor does it find a way out", func(t *testing.T) {
		out, errs, state := hostile(t, program, "reach")
		if out != "" || errs != "" || !state.Success() {
			t.Errorf("it could %q, said %q: %s", strings.Split(out, "\n"), errs, state)
		}
	})
	t.Run("and computes as before", func(t *testing.T) {
		if out, errs, state := hostile(t, program, "threads"); out != "fine\n" {
			t.Errorf("said %q, %q: %s", out, errs, state)
		}
	})
	t.Run("nor takes more memory", func(t *testing.T) {
		out, errs, state := hostile(t, program, "memory")
		if out != "" || !strings.Contains(errs, "out of memory") || state.ExitCode() != 2 {
			t.Errorf("said %q, %q: %s", out, errs, state)
		}
		peak := state.SysUsage().(*syscall.Rusage).Maxrss << 10
		t.Logf("%d KiB at most", peak>>10)
		if peak > Memory+(16<<20) {
			t.Errorf("held %d bytes", peak)
		}
	})
	t.Run("nor more processor time", func(t *testing.T) {
		_, errs, state := hostile(t, program, "processor")
		if !state.Sys().(syscall.WaitStatus).Signaled() {
			t.Errorf("ended by itself (%s), said %q", state, errs)
		}
		if used := state.UserTime() + state.SystemTime(); used.Seconds() > ProcessorSeconds+2 {
			t.Errorf("took %s", used)
		}
	})
}

func TestTheSizeOfAProcessIsRead(t *testing.T) {
	if got, err := sizeOf([]byte("VmSize:\t 10 kB\nVmData:\t    1234 kB\n")); got != 1234<<10 || err != nil {
		t.Errorf("got %d, %v", got, err)
	}
	for _, text := range []string{"", "VmData:", "VmData: x kB\n", "VmData: -1 kB\n"} {
		if got, err := sizeOf([]byte(text)); err == nil {
			t.Errorf("%q is %d", text, got)
		}
	}
}
