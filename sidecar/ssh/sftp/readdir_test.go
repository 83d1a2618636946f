package sftp

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chaperone-dev/chaperone/test/sshserver"
)

// ends are the two ends of a stream.
type ends struct {
	io.Reader
	io.WriteCloser
}

func (e ends) CloseWrite() error { return e.Close() }

// dialogue is an agent's side of a session with the real server.
type dialogue struct {
	t    *testing.T
	to   io.Writer
	from *bufio.Reader
	last uint32
}

func talk(t *testing.T, opts Options) *dialogue {
	t.Helper()
	openssh, err := sshserver.Install()
	if err != nil {
		t.Skipf("no OpenSSH: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cmd := exec.CommandContext(ctx, openssh.SFTPServer)
	cmd.Env = openssh.Environment()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	agentReads, serveWrites := io.Pipe()
	serveReads, agentWrites := io.Pipe()
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = Serve(ctx, ends{serveReads, serveWrites}, ends{out, in}, anything{}, opts)
		serveWrites.Close()
	}()
	t.Cleanup(func() {
		agentWrites.Close()
		cancel()
		<-served
		_ = cmd.Wait()
	})
	d := &dialogue{t: t, to: agentWrites, from: bufio.NewReader(agentReads)}
	if got := d.exchange(packet(typeInit, protocolVersion, nil)); frameType(got) != typeVersion {
		t.Fatalf("got % x", got)
	}
	return d
}

func (d *dialogue) exchange(frame []byte) []byte {
	d.t.Helper()
	if _, err := d.to.Write(frame); err != nil {
		d.t.Fatal(err)
	}
	got, err := readFrame(d.from, nil)
	if err != nil {
		d.t.Fatal(err)
	}
	return got
}

func (d *dialogue) ask(kind byte, fields ...string) []byte {
	d.t.Helper()
	d.last++
	got := d.exchange(packet(kind, d.last, func(b *builder) {
		for _, f := range fields {
			b.text(f)
		}
	}))
	if frameID(got) != d.last {
		d.t.Fatalf("the answer to %d is for %d", d.last, frameID(got))
	}
	return got
}

func TestNamesAreHandedOnWhileTheirFolderIsWhereItWas(t *testing.T) {
	for _, resolves := range []bool{true, false} {
		t.Run(fmt.Sprintf("where the server resolves is %v", resolves), func(t *testing.T) {
			dir := t.TempDir()
			for _, p := range []string{"mine/f", "vault/f"} {
				if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(p)), 0o777); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(dir, p), []byte(p), 0o666); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.Symlink("vault", dir+"/link"); err != nil {
				t.Fatal(err)
			}
			d := talk(t, Options{Resolves: resolves})
			open := func() string { return string(fieldsOf(d.ask(typeOpendir, dir+"/mine")).bytes(maxHandle)) }
			first, second := open(), open()
			if got := d.ask(typeReaddir, first); frameType(got) != typeName || !strings.Contains(string(got), "-rw") {
				t.Errorf("of the folder itself came %q", got)
			}
			if code, _, ok := status(d.ask(typeReaddir, first)); !ok || code != statusEOF {
				t.Errorf("behind its names came the status %d (%v)", code, ok)
			}
			for _, names := range [][2]string{{"mine", "away"}, {"link", "mine"}} {
				if code, text, ok := status(d.ask(typeRename, dir+"/"+names[0], dir+"/"+names[1])); !ok || code != statusOK {
					t.Fatal(code, text)
				}
			}
			if code, text, ok := status(d.ask(typeReaddir, second)); !ok || code != statusPermissionDenied || !strings.HasPrefix(text, moved) {
				t.Errorf("of a folder whose place a link has taken came %d %q (%v)", code, text, ok)
			}
			if code, _, ok := status(d.ask(typeClose, second)); !ok || code != statusOK {
				t.Errorf("closing it came to %d", code)
			}
		})
	}
}
