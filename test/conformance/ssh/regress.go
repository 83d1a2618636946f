package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/chaperone-dev/chaperone/test/conformance/difference"
)

// scripts are those of OpenSSH's regression suite that concern what a server carries. Most of those of sftp and scp start
// sftp-server and scp without SSH between: see putSSHBetween.
var scripts = []string{
	"connect", "transfer", "exit-status", "exit-status-signal", "stderr-data", "stderr-after-eof", "broken-pipe", "yes-head",
	"envpass", "forwarding", "dynamic-forward", "sftp", "sftp-batch", "sftp-badcmds", "sftp-cmds", "sftp-glob", "sftp-perm", "sftp-chroot",
	"sftp-uri", "scp", "scp3", "scp-uri",
}

// slow scripts run only where they are named (-only multiplex). rekey goes through every algorithm, most of which the
// sidecar does not offer to agents.
var slow = []string{"multiplex", "rekey"}

// scriptTime is how long one script may take.
const scriptTime = 5 * time.Minute

// outcome is how a script ended.
type outcome struct {
	status int
	said   string
}

func runRegress(b *bench) (difference.Report, error) {
	out := make(difference.Report)
	all := scripts
	if b.only != nil {
		all = append(slices.Clone(scripts), slow...)
	}
	for _, name := range all {
		if !b.wants(name) {
			continue
		}
		begin := time.Now()
		past, _, err := b.script("direct", name)
		if err != nil {
			return nil, err
		}
		through, denied, err := b.script("sidecar", name)
		if err != nil {
			return nil, err
		}
		if past.status != 0 {
			fmt.Printf("%s ends with %d past the sidecar: %s\n", name, past.status, past.said)
		}
		r := difference.Result{Differs: past != through, Refusals: make(map[string]struct{})}
		for line := range strings.Lines(denied) {
			r.Refusals[strings.TrimSpace(line)] = struct{}{}
		}
		if r.Differs {
			fmt.Printf("%s differs: directly %d\n%s\nthrough the sidecar %d\n%s\n", name, past.status, past.said, through.status, through.said)
		}
		fmt.Printf("%s: %s\n", name, time.Since(begin).Round(time.Second))
		out[name] = r
	}
	return out, nil
}

// script runs one script on a side and returns what was denied meanwhile.
func (b *bench) script(side, name string) (o outcome, denied string, err error) {
	object := filepath.Join(b.folder, side, name)
	if err := os.MkdirAll(filepath.Dir(object), 0o755); err != nil {
		return o, "", err
	}
	if err := os.CopyFS(object, os.DirFS(b.installation.regress)); err != nil {
		return o, "", err
	}
	log := filepath.Join(object, "denied.log")
	self, err := os.Executable()
	if err != nil {
		return o, "", err
	}
	wrapper := filepath.Join(object, "sshd-with-sidecar")
	text := fmt.Sprintf("#!/bin/sh\nexec %s %s %s %s %s \"$@\"\n", self, sshdVerb, side, b.installation.Sshd, log)
	if err := os.WriteFile(wrapper, []byte(text), 0o755); err != nil {
		return o, "", err
	}
	sftpServer, err := b.putSSHBetween(object)
	if err != nil {
		return o, "", err
	}
	ctx, cancel := context.WithTimeout(context.Background(), scriptTime)
	defer cancel()
	in := func(program string) string { return filepath.Join(b.installation.Bin, program) }
	cmd := exec.CommandContext(ctx, "sh", filepath.Join(object, "test-exec.sh"), object, filepath.Join(object, name+".sh"))
	cmd.Dir = object
	cmd.WaitDelay = time.Second
	cmd.Env = append(b.installation.Environment(),
		"HOME=/run/home", "USER=root", "LOGNAME=root", "SHELL=/bin/sh", "TEST_SHELL=sh", "BUILDDIR="+object, "OBJ="+object, "SUDO=",
		"TEST_SSH_SSH="+in("ssh"), "TEST_SSH_SSHD="+wrapper, "TEST_SSH_SSHAGENT="+in("ssh-agent"), "TEST_SSH_SSHADD="+in("ssh-add"),
		"TEST_SSH_SSHKEYGEN="+in("ssh-keygen"), "TEST_SSH_SSHKEYSCAN="+in("ssh-keyscan"), "TEST_SSH_SFTP="+in("sftp"), "TEST_SSH_SCP="+in("scp"),
		"TEST_SSH_SFTPSERVER="+sftpServer, "TEST_SSH_UNSAFE_PERMISSIONS=1", "TEST_SSH_QUIET=yes", "TEST_SSH_IPV6=no", "EGREP=grep -E")
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	err = cmd.Run()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit), errors.Is(err, exec.ErrWaitDelay):
	case ctx.Err() != nil:
		said.WriteString("it took more than " + scriptTime.String())
	case err != nil:
		return o, "", err
	}
	// What it started must not stay.
	_ = exec.Command("sh", "-c", "test ! -f "+object+"/pidfile || kill $(cat "+object+"/pidfile)").Run()
	was, _ := os.ReadFile(log)
	text = fileTime.ReplaceAllString(strings.ReplaceAll(said.String(), "/"+side+"/", "/SIDE/"), " TIME ")
	return outcome{cmd.ProcessState.ExitCode(), text}, string(was), nil
}

// fileTime is what ls -l says of when a file changed.
var fileTime = regexp.MustCompile(` [A-Z][a-z]{2} +\d+ \d\d:\d\d `)

// putSSHBetween makes what scripts take for sftp-server: it reaches the subsystem of the scripts' own sshd, where the same
// file then is the real program, with the options of the first. What they take for ssh beneath scp is ssh.
func (b *bench) putSSHBetween(object string) (sftpServer string, err error) {
	ssh := filepath.Join(b.installation.Bin, "ssh") + " -q -F " + filepath.Join(object, "ssh_proxy")
	beneath := filepath.Join(object, "scp-ssh-wrapper.sh")
	text, err := os.ReadFile(beneath)
	if err != nil {
		return "", err
	}
	const local = `exec $SCP "$@"`
	if strings.Count(string(text), local) != 1 {
		return "", fmt.Errorf("%s is not as it was: there is no line %s", beneath, local)
	}
	text = []byte(strings.Replace(string(text), local, "exec "+ssh+` somehost scp "$@"`, 1))
	if err := os.WriteFile(beneath, text, 0o755); err != nil {
		return "", err
	}
	// 5 bytes a request are a hundred thousand of them for each of the script's twelve files.
	sizes := filepath.Join(object, "sftp.sh")
	if text, err = os.ReadFile(sizes); err != nil {
		return "", err
	}
	if err := os.WriteFile(sizes, bytes.Replace(text, []byte(`BUFFERSIZE="5 1000 `), []byte(`BUFFERSIZE="1000 `), 1), 0o755); err != nil {
		return "", err
	}
	sftpServer = filepath.Join(object, "sftp-server-over-ssh")
	options := filepath.Join(object, "sftp-server-options")
	return sftpServer, os.WriteFile(sftpServer, []byte(fmt.Sprintf("#!/bin/sh\n"+
		"test -n \"$SSH_CONNECTION\" && exec %s $(cat %s)\necho \"$*\" >%s\nexec %s -s somehost sftp\n",
		b.installation.SFTPServer, options, options, ssh)), 0o755)
}
