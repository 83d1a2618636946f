package main

import (
	"os"
	"path/filepath"

	"github.com/chaperone-dev/chaperone/test/debian"
	"github.com/chaperone-dev/chaperone/test/sshserver"
)

// installation is OpenSSH and what else the suites need, unpacked.
type installation struct {
	*sshserver.Installation
	// regress is OpenSSH's folder of scripts, rsync a program, python a folder of Python's modules.
	regress, rsync, python string
}

// install gets Debian's packages; the first call on a machine downloads about 4 MB.
func install() (*installation, error) {
	ssh, err := sshserver.Install()
	if err != nil {
		return nil, err
	}
	in := &installation{Installation: ssh}
	err = debian.Locked("openssh-conformance", func(cache string) error {
		root := filepath.Join(cache, "current")
		in.regress = filepath.Join(root, "usr/lib/openssh/regress")
		in.rsync = filepath.Join(root, "rsync")
		in.python = filepath.Join(root, "usr/lib/python3/dist-packages")
		complete := filepath.Join(root, "complete")
		if _, err := os.Stat(complete); err == nil {
			return nil
		}
		if err := os.RemoveAll(root); err != nil {
			return err
		}
		if err := os.MkdirAll(root, 0o755); err != nil {
			return err
		}
		if err := debian.Fetch(root, "openssh-tests", "rsync", "python3-paramiko", "python3-cryptography", "python3-bcrypt", "python3-nacl", "python3-six", "python3-cffi-backend"); err != nil {
			return err
		}
		libraries, program := filepath.Join(root, "libraries"), filepath.Join(root, "usr/bin/rsync")
		if err := os.Mkdir(libraries, 0o755); err != nil {
			return err
		}
		programs := debian.Programs{Package: "rsync", Root: root, Libraries: libraries, Paths: []string{program}, Skip: []string{in.regress, filepath.Join(root, "usr/lib/python3")},
			Environment: append(os.Environ(), "LD_LIBRARY_PATH="+libraries)}
		if err := programs.Complete(); err != nil {
			return err
		}
		// The server starts it without our environment.
		script := "#!/bin/sh\nLD_LIBRARY_PATH=" + libraries + " exec " + program + " \"$@\"\n"
		if err := os.WriteFile(in.rsync, []byte(script), 0o755); err != nil {
			return err
		}
		return os.WriteFile(complete, nil, 0o644)
	})
	return in, err
}
