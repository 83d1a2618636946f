package environment

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/chaperone-dev/chaperone/test/sshserver"
)

// A network beside the local cluster's node is where servers run that are not pods. Pods reach it by this name, which
// resolves to this address.
const (
	OutsideHost    = "bastion.outside.test"
	OutsideAddress = "10.97.0.1"
)

// OutsideSSHServer is an sshd that is no pod, on port 22 of OutsideHost. Its only user, SSHUser, logs in with a certificate
// of an authority; what is kept of each is in its log.
type OutsideSSHServer struct {
	// KnownHosts knows the server by its name and its address.
	KnownHosts []byte

	stdin io.Closer
	log   *lockedBuffer
	ended chan struct{}
	files string
}

// outsideScript runs as the first process of namespaces of its own, with the node's files around it, and ends with its
// input. Where sshd reads files at fixed places it gets its own.
const outsideScript = `set -e
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/sshd /run/home && cd /run/sshd
echo "$HOST_KEY" | base64 -d >host && chmod 600 host
echo "$AUTHORITY" | base64 -d >authority
printf 'root:x:0:0::/root:/bin/sh\nsshd:x:101:65534::/run/sshd:/bin/false\n` + SSHUser + `:x:2000:2000::/run/home:/bin/sh\n' >passwd
printf 'root:x:0:\ntty:x:5:\nnogroup:x:65534:\n` + SSHUser + `:x:2000:\n' >group
printf 'root:*:19000:0:99999:7:::\nsshd:*:19000:0:99999:7:::\n` + SSHUser + `:*:19000:0:99999:7:::\n' >shadow
for f in passwd group shadow; do mount --bind $f /etc/$f; done
echo 'kept outside' >/run/home/note && chown -R 2000:2000 /run/home
` + certificateScript + `
"$FILES/sshd" -D -e -f /dev/null -h /run/sshd/host -o PidFile=none -o UsePAM=no -o UseDNS=no -o PrintLastLog=no -o AuthorizedKeysFile=none ` + certificateOptions + ` &
cat >/dev/null`

const (
	// certificateScript makes what sshd asks who a certificate may log in as: it also says in the log which one came.
	certificateScript = `printf '#!/bin/sh\necho "certificate $1" >>/run/sshd/certificates\necho ` + SSHUser + `\n' >/run/sshd/principals
chmod 755 /run/sshd/principals; : >/run/sshd/certificates; tail -f /run/sshd/certificates &`
	// certificateOptions has a server trust the authority in /run/sshd.
	certificateOptions = `-o LogLevel=VERBOSE -o TrustedUserCAKeys=/run/sshd/authority ` +
		`-o "AuthorizedPrincipalsCommand=/run/sshd/principals %k" -o AuthorizedPrincipalsCommandUser=root`
)

// StartOutsideSSHServer runs the server until Stop. Authority is the public key of who signs certificates.
func (e *Environment) StartOutsideSSHServer(ctx context.Context, authority ssh.PublicKey) (*OutsideSSHServer, error) {
	in, err := sshserver.Install()
	if err != nil {
		return nil, fmt.Errorf("getting OpenSSH: %w", err)
	}
	host, hostPEM, err := sshKey()
	if err != nil {
		return nil, err
	}
	s := &OutsideSSHServer{
		KnownHosts: append([]byte(OutsideHost+","+OutsideAddress+" "), ssh.MarshalAuthorizedKey(host)...),
		log:        &lockedBuffer{}, ended: make(chan struct{}),
	}
	// The node has folders of its own in the place of the host's temporary ones.
	if s.files, err = os.MkdirTemp(filepath.Dir(e.Kubeconfig), "outside-"); err != nil {
		return nil, err
	}
	for _, from := range []string{in.Sshd, in.Libraries() + "/."} {
		if _, err := e.Run(ctx, "", "cp", "-r", from, s.files); err != nil {
			return nil, err
		}
	}
	encode := func(b []byte) string { return base64.StdEncoding.EncodeToString(b) }
	// What is started lives on after ctx, until its input ends.
	cmd := exec.CommandContext(context.WithoutCancel(ctx), "go", "-C", filepath.Join(e.Root, "hack/cluster"), "run", ".", "outside", "--",
		"env", "HOST_KEY="+encode(hostPEM), "AUTHORITY="+encode(ssh.MarshalAuthorizedKey(authority)), "FILES="+s.files, "LD_LIBRARY_PATH="+s.files,
		"unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", outsideScript)
	cmd.Stdout, cmd.Stderr = s.log, s.log
	if s.stdin, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting an sshd outside the cluster: %w", err)
	}
	go func() { _ = cmd.Wait(); close(s.ended) }()
	for end := time.Now().Add(time.Minute); !strings.Contains(s.Log(), "Server listening on 0.0.0.0 port 22"); time.Sleep(50 * time.Millisecond) {
		select {
		case <-s.ended:
			return nil, fmt.Errorf("the sshd outside the cluster ended: %s", s.Log())
		default:
		}
		if time.Now().After(end) {
			s.Stop()
			return nil, fmt.Errorf("the sshd outside the cluster does not listen: %s", s.Log())
		}
	}
	return s, nil
}

// Log is what the server has said.
func (s *OutsideSSHServer) Log() string { return s.log.String() }

// Stop ends the server and what runs in it.
func (s *OutsideSSHServer) Stop() {
	_ = s.stdin.Close()
	<-s.ended
	_ = os.RemoveAll(s.files)
}
