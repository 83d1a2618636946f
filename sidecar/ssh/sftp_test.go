package ssh_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/record"
	"github.com/chaperone-dev/chaperone/test/sshserver"
	"github.com/chaperone-dev/chaperone/test/sshsidecar"
)

// area makes a folder of the server's user, with a name of the test's own.
func area(t testing.TB, files map[string]string) string {
	t.Helper()
	dir, err := os.MkdirTemp(needServer(t).HomeOf(sshserver.User), "area-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	for name, text := range files {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	// The server's user is another than the test's.
	err = filepath.Walk(dir, func(p string, _ os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		if err := os.Chown(p, uid(t), -1); err != nil {
			return err
		}
		return os.Chmod(p, 0o777)
	})
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// uid is the server's user's.
func uid(t testing.TB) int {
	t.Helper()
	info, err := os.Stat(server.HomeOf(sshserver.User))
	if err != nil {
		t.Fatal(err)
	}
	return int(info.Sys().(*syscall.Stat_t).Uid)
}

func sum(p []byte) string {
	s := sha256.Sum256(p)
	return hex.EncodeToString(s[:])
}

// files is a rule on paths.
func files(name string, action policy.Action, operations []string, paths ...string) policy.Rule {
	return policy.Rule{Name: name, Match: policy.Match{Operations: operations, Paths: paths}, Action: action}
}

var allowSFTP = policy.Rule{Name: "files", Match: policy.Match{Subsystems: []string{"sftp"}}, Action: policy.Allow}

// batch runs OpenSSH's sftp over a list of commands; "-" before one lets it fail.
func batch(t testing.TB, s *sshsidecar.Sidecar, commands ...string) result {
	t.Helper()
	return run(t, s.Command("sftp", "-b", "-", Host), strings.Join(commands, "\n")+"\n")
}

func TestFilesAreTransferred(t *testing.T) {
	s := sshsidecar.Start(t, needServer(t), sshsidecar.SSH(server, allowSFTP))
	dir := area(t, map[string]string{"in/a": "alpha", "in/sub/b": "beta"})
	local := t.TempDir()
	big := bytes.Repeat([]byte("0123456789abcdef"), 1<<17) // 2 MiB
	if err := os.WriteFile(filepath.Join(local, "big"), big, 0o644); err != nil {
		t.Fatal(err)
	}
	got := batch(t, s,
		"cd "+dir, "pwd", "ls -la in", "get in/a "+local+"/a", "put "+local+"/big big", "get big "+local+"/back",
		"put -p "+local+"/big kept", "mkdir made", "rename big made/big", "symlink made/big link", "ln in/a hard", "chmod 600 in/a",
		"df", "rm link", "get -r in "+local, "-reput "+local+"/big kept", "cp kept copied")
	got2 := batch(t, s, "cd "+dir, "get made/big "+local+"/moved", "rm made/big", "rmdir made")
	for name, r := range map[string]result{"first": got, "second": got2} {
		if r.status != 0 {
			t.Errorf("%s: %+v", name, r)
		}
	}
	for _, name := range []string{"back", "moved"} {
		if p, _ := os.ReadFile(filepath.Join(local, name)); !bytes.Equal(p, big) {
			t.Errorf("%s has %d bytes, not what was sent: %+v", name, len(p), got)
		}
	}
	for name, want := range map[string]string{"a": "alpha", "in/a": "alpha", "in/sub/b": "beta"} {
		if p, _ := os.ReadFile(filepath.Join(local, name)); string(p) != want {
			t.Errorf("%s is %q", name, p)
		}
	}
	for _, name := range []string{"kept", "copied"} {
		if p, _ := os.ReadFile(filepath.Join(dir, name)); !bytes.Equal(p, big) {
			t.Errorf("%s has %d bytes: %+v", name, len(p), got)
		}
	}
	if info, err := os.Stat(filepath.Join(dir, "in/a")); err != nil || info.Mode().Perm() != 0o600 || info.Sys() == nil {
		t.Errorf("%v %v", info, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "hard")); err != nil {
		t.Error(err)
	}
	t.Run("and recorded with path, size and digest", func(t *testing.T) {
		put := s.Log.Find(record.KindCommand, func(e record.Event) bool {
			return strings.Contains(e.Text, "write "+dir+"/big")
		})
		if len(put) == 0 || put[0].Verdict != "Allow" || put[0].Rule != "files" || len(put[0].Digest) != 64 {
			t.Fatalf("got %+v", put)
		}
		r := s.Log.Find(record.KindResult, func(e record.Event) bool { return e.Command == put[0].Command })[0]
		if r.Bytes != int64(len(big)) || r.Digest != sum(big) || !strings.Contains(r.Tag, fmt.Sprintf("wrote %d bytes", len(big))) {
			t.Errorf("got %+v", r)
		}
		read := s.Log.Find(record.KindCommand, func(e record.Event) bool { return strings.Contains(e.Text, "read "+dir+"/big") })
		r = s.Log.Find(record.KindResult, func(e record.Event) bool { return e.Command == read[0].Command })[0]
		if r.Bytes != int64(len(big)) || r.Digest != sum(big) {
			t.Errorf("got %+v", r)
		}
	})
}

func TestScpUsesSftp(t *testing.T) {
	s := sshsidecar.Start(t, needServer(t), sshsidecar.SSH(server, allowSFTP))
	dir := area(t, map[string]string{"tree/x/1": "one", "tree/2": "two", "long": "much longer than what comes"})
	local := t.TempDir()
	for _, args := range [][]string{
		{"-rp", Host + ":" + dir + "/tree", local}, {"-r", local + "/tree", Host + ":" + dir + "/again"},
		{local + "/tree/2", Host + ":" + dir + "/long"},
	} {
		if got := run(t, s.Command("scp", args...), ""); got.status != 0 {
			t.Fatalf("scp %q: %+v", args, got)
		}
	}
	for name, want := range map[string]string{"again/x/1": "one", "again/2": "two", "long": "two"} {
		if p, _ := os.ReadFile(filepath.Join(dir, name)); string(p) != want {
			t.Errorf("%s is %q", name, p)
		}
	}
}

func TestFilesAreJudgedByWhereTheirPathLeads(t *testing.T) {
	dir := area(t, map[string]string{"open/a": "alpha", "shut/secret": "sesame", "open/dir/f": "f", "shut/dir/f": "f"})
	for name, to := range map[string]string{"open/link": "../shut/secret", "open/folder": "../shut", "open/absolute": dir + "/shut/secret", "open/new": "../shut/new"} {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	s := sshsidecar.Start(t, needServer(t), sshsidecar.SSH(server,
		policy.Rule{Name: "shut", Match: policy.Match{Paths: []string{dir + "/shut/**"}}, Action: policy.Deny, Message: "the vault is shut"},
		files("open", policy.Allow, nil, dir+"/open/**"),
		files("look", policy.Allow, []string{"stat", "list"}, "*")))
	local := t.TempDir()
	if err := os.WriteFile(local+"/mine", []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	tests := map[string]string{
		"by its name":                      "get " + dir + "/shut/secret " + local + "/got",
		"through a link":                   "get " + dir + "/open/link " + local + "/got",
		"through an absolute link":         "get " + dir + "/open/absolute " + local + "/got",
		"through a linked folder":          "get " + dir + "/open/folder/secret " + local + "/got",
		"through ..":                       "get " + dir + "/open/../shut/secret " + local + "/got",
		"through a linked folder and ..":   "get " + dir + "/open/folder/../shut/secret " + local + "/got",
		"written through a link":           "put " + local + "/mine " + dir + "/open/link",
		"made through a link to nothing":   "put " + local + "/mine " + dir + "/open/new",
		"made in a linked folder":          "put " + local + "/mine " + dir + "/open/folder/mine",
		"renamed out":                      "rename " + dir + "/shut/secret " + dir + "/open/secret",
		"renamed over":                     "rename " + dir + "/open/a " + dir + "/shut/secret",
		"linked hard":                      "ln " + dir + "/shut/secret " + dir + "/open/hard",
		"linked to":                        "symlink " + dir + "/shut/secret " + dir + "/open/soft",
		"linked to by a relative link":     "symlink ../shut/secret " + dir + "/open/soft",
		"removed through a linked folder":  "rm " + dir + "/open/folder/secret",
		"a folder made in a linked folder": "mkdir " + dir + "/open/folder/made",
		"its mode set through a link":      "chmod 777 " + dir + "/open/link",
		"a folder above it renamed":        "rename " + dir + "/shut " + dir + "/open/moved",
		"its folder entered":               "cd " + dir + "/open/folder",
		"outside of every rule":            "put " + local + "/mine " + dir + "/elsewhere",
	}
	before := tree(t, dir)
	for name, command := range tests {
		t.Run(name, func(t *testing.T) {
			got := batch(t, s, command)
			if got.status == 0 {
				t.Errorf("got %+v", got)
			}
			if !strings.Contains(got.stderr, "chaperone: denied") && !strings.Contains(got.stderr, "Permission denied") {
				t.Errorf("%q says nothing of a refusal", got.stderr)
			}
			if strings.Contains(got.stderr, `rule "shut"`) && !strings.Contains(got.stderr, "the vault is shut") {
				t.Errorf("%q does not say why", got.stderr)
			}
			if p, err := os.ReadFile(local + "/got"); err == nil && len(p) > 0 {
				t.Fatalf("it got %q", p)
			}
			if after := tree(t, dir); after != before {
				t.Fatalf("it changed\n%s\ninto\n%s", before, after)
			}
		})
	}
	t.Run("and what is open still works in the same session", func(t *testing.T) {
		got := batch(t, s, "-get "+dir+"/open/link "+local+"/got", "get "+dir+"/open/a "+local+"/a", "rename "+dir+"/open/dir "+dir+"/open/dir2", "rm "+dir+"/open/link")
		if p, _ := os.ReadFile(local + "/a"); string(p) != "alpha" || got.status != 0 {
			t.Errorf("%q %+v", p, got)
		}
		if _, err := os.Stat(dir + "/shut/secret"); err != nil {
			t.Error(err)
		}
	})
}

// tree is all that is below a folder, in words.
func tree(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.Walk(dir, func(p string, info os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "%s %s", p, info.Mode())
		if info.Mode().IsRegular() {
			text, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, " %s", sum(text)[:8])
		}
		b.WriteByte('\n')
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}
