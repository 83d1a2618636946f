package kube_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/creack/pty"

	"github.com/chaperone-dev/chaperone/test/kubeserver"
)

// terminal runs kubectl on a terminal of a size and types.
func terminal(t testing.TB, s *kubeserver.Sidecar, environment []string, columns, lines uint16, typed string, args ...string) result {
	t.Helper()
	config, dir := kubeconfig(t, s.Address(), s.CAPEM(), kubeserver.Placeholder)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, server.Kubectl, args...)
	cmd.Env = append(append(os.Environ(), "KUBECONFIG="+config, "HOME="+dir, "TERM=xterm"), environment...)
	p, err := pty.StartWithSize(cmd, &pty.Winsize{Cols: columns, Rows: lines})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	var out bytes.Buffer
	// The prompt says that the terminal is there, and has its size.
	seen := make([]byte, 1)
	for !bytes.HasSuffix(out.Bytes(), []byte("$ ")) {
		if _, err := p.Read(seen); err != nil {
			t.Fatalf("%v after %q", err, out.String())
		}
		out.Write(seen)
	}
	// The size follows in a frame of its own.
	sized := fmt.Sprintf("until [ \"$(stty size | tr ' ' x)\" = %dx%d ]; do sleep 0.05; done\n", lines, columns)
	if _, err := io.WriteString(p, sized+typed); err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(&out, p)
	_ = cmd.Wait()
	return result{stdout: out.String(), code: cmd.ProcessState.ExitCode()}
}
