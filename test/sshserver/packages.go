package sshserver

import (
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/chaperone-dev/chaperone/test/debian"
)

// Installation is an unpacked OpenSSH.
type Installation struct {
	// Sshd and SFTPServer are the server's programs, Bin the folder of the client's: ssh, scp, sftp, ssh-keygen.
	Sshd       string
	SFTPServer string
	Bin        string
	// Root is where the packages are unpacked.
	Root string
	// libraries holds shared libraries that the machine itself lacks; LD_LIBRARY_PATH points there.
	libraries string
}

var installed struct {
	once sync.Once
	in   *Installation
	err  error
}

// Install returns the OpenSSH that the machine's Debian sources offer, unpacked. The first call on a machine downloads
// about 2 MB; processes that call it at the same time wait for one another.
func Install() (*Installation, error) {
	installed.once.Do(func() { installed.in, installed.err = install() })
	return installed.in, installed.err
}

func install() (in *Installation, err error) {
	err = debian.Locked("openssh", func(cache string) error {
		root := filepath.Join(cache, "current")
		in = &Installation{
			Sshd:       filepath.Join(root, "usr/sbin/sshd"),
			SFTPServer: filepath.Join(root, "usr/lib/openssh/sftp-server"),
			Bin:        filepath.Join(root, "usr/bin"),
			Root:       root,
			libraries:  filepath.Join(root, "libraries"),
		}
		complete := filepath.Join(root, "complete")
		if _, err := os.Stat(complete); err == nil {
			return nil
		}
		if err := os.RemoveAll(root); err != nil {
			return err
		}
		if err := os.MkdirAll(in.libraries, 0o755); err != nil {
			return err
		}
		if err := debian.Fetch(root, "openssh-server", "openssh-client", "openssh-sftp-server"); err != nil {
			return err
		}
		programs := debian.Programs{Package: "openssh-server", Root: root, Libraries: in.libraries, Environment: in.Environment(),
			Paths: []string{in.Sshd, in.SFTPServer, filepath.Join(in.Bin, "ssh")}}
		if err := programs.Complete(); err != nil {
			return err
		}
		return os.WriteFile(complete, nil, 0o644)
	})
	return in, err
}

// Libraries is the folder of shared libraries that the machine itself may lack.
func (in *Installation) Libraries() string { return in.libraries }

// Environment is what the installation's programs run with: the machine's own, without any SSH variable, and the
// libraries' folder.
func (in *Installation) Environment() []string {
	var env []string
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "SSH_") && !strings.HasPrefix(kv, "LD_LIBRARY_PATH=") && !strings.HasPrefix(kv, "LC_") && !strings.HasPrefix(kv, "LANG") {
			env = append(env, kv)
		}
	}
	return append(env, "LD_LIBRARY_PATH="+in.libraries, "LC_ALL=C")
}
