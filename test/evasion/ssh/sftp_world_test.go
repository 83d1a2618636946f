package ssh

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/test/sshserver"
	"github.com/chaperone-dev/chaperone/test/sshsidecar"
)

// What is in the vault, and nowhere else: bytes of a file, names, a link's text, and a size.
const (
	vaultText = "sesame-4711\n"
	vaultName = "ledger-0815"
	vaultLink = "to-where-0372"
	vaultSize = 12 * 8191
)

// vaultTells are bytes by which an answer tells of it.
var vaultTells = []string{"sesame-4711", vaultName, vaultLink, string(sizeBytes(vaultSize))}

func sizeBytes(n int) []byte { return pack(0, 0, n)[9:] }

// at is a path below the user's home.
func at(name string) string { return filepath.Join(server.HomeOf(sshserver.User), name) }

// furnishFiles makes the home: work, where everything is allowed; shown, which may be looked at; and the vault. Links
// out of work are there, as if others had made them.
func furnishFiles(t testing.TB) {
	t.Helper()
	furnish(t)
	for name, text := range map[string]string{
		"work/a": "alpha", "work/dir/f": "f", "work/dir/secret": "another", "shown/page": "published", "vault/shut/secret": strings.Repeat(vaultText, vaultSize/len(vaultText)),
		"vault/shut/" + vaultName + "/f": "f", "vault/shut/empty/.keep": "",
	} {
		if err := os.MkdirAll(filepath.Dir(at(name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(at(name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(at("vault/shut/empty/.keep")); err != nil {
		t.Fatal(err)
	}
	for name, to := range map[string]string{
		"work/link": "../vault/shut/secret", "work/folder": "../vault/shut", "work/absolute": at("vault/shut/secret"), "work/chain": "link",
		"work/tonew": "../vault/shut/new", "vault/shut/out": vaultLink, "work/up": "..", "work/loop": "loop",
	} {
		if err := os.Symlink(to, at(name)); err != nil {
			t.Fatal(err)
		}
	}
	owner := homeOwner(t)
	err := filepath.WalkDir(at(""), func(path string, _ fs.DirEntry, err error) error {
		if err != nil || path == at("") {
			return err
		}
		return os.Lchown(path, int(owner.Uid), int(owner.Gid))
	})
	if err != nil {
		t.Fatal(err)
	}
}

func homeOwner(t testing.TB) *syscall.Stat_t {
	t.Helper()
	info, err := os.Stat(at(""))
	if err != nil {
		t.Fatal(err)
	}
	return info.Sys().(*syscall.Stat_t)
}

// kept is what is in the vault and among what is shown, in words: names, modes, owners, times, links, bytes.
func kept() string {
	var b strings.Builder
	for _, root := range []string{"vault/shut", "shown"} {
		err := filepath.WalkDir(at(root), func(path string, _ fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := os.Lstat(path)
			if err != nil {
				return err
			}
			s := info.Sys().(*syscall.Stat_t)
			fmt.Fprintf(&b, "%s %s uid %d, %d names, %s", path, info.Mode(), s.Uid, s.Nlink, info.ModTime())
			if info.Mode().IsRegular() {
				text, err := os.ReadFile(path)
				if err != nil {
					return err
				}
				fmt.Fprintf(&b, ", %d bytes %.20q", len(text), text)
			}
			b.WriteByte('\n')
			return nil
		})
		if err != nil {
			fmt.Fprintln(&b, err)
		}
	}
	return b.String()
}

// tells says what of the vault is in what was received, beside the adversary's own words.
func (f *fileSession) tells() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	received := f.received.String()
	for _, asked := range f.asked {
		received = strings.ReplaceAll(received, asked, "")
	}
	for _, tell := range vaultTells {
		if strings.Contains(received, tell) {
			return tell
		}
	}
	return ""
}

// filePolicies are two ways to write the same: what is allowed, and what is forbidden.
func filePolicies() map[string]policy.SSH {
	looking := []string{"read", "list", "stat", "statvfs", "readlink"}
	changing := []string{"write", "append", "setstat", "remove", "rename", "link", "symlink", "mkdir", "rmdir"}
	shown := []string{at("shown/**")}
	return map[string]policy.SSH{
		"allow": sshsidecar.SSH(server,
			policy.Rule{Name: "shown", Action: policy.Allow, Match: policy.Match{Operations: looking, Paths: shown}},
			policy.Rule{Name: "work", Action: policy.Allow, Match: policy.Match{Paths: []string{at("work/**")}}}),
		"deny": sshsidecar.SSH(server,
			policy.Rule{Name: "vault", Action: policy.Deny, Match: policy.Match{Paths: []string{at("vault/shut/**")}}},
			policy.Rule{Name: "shown", Action: policy.Deny, Match: policy.Match{Operations: changing, Paths: shown}},
			policy.Rule{Name: "files", Action: policy.Allow, Match: policy.Match{Subsystems: []string{"sftp"}}}),
	}
}
