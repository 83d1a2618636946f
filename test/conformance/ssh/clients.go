package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	xssh "golang.org/x/crypto/ssh"

	"github.com/chaperone-dev/chaperone/sidecar/trust"
	"github.com/chaperone-dev/chaperone/test/conformance/difference"
	"github.com/chaperone-dev/chaperone/test/sshserver"
)

// client is a text for a shell. $SSH is OpenSSH's client with its options, $NAME and $PORT the server's, $SIDE a folder
// of the side's own, $FAR another that the server's user may write to.
type client struct{ name, text string }

var clients = []client{
	{"OpenSSH by name", `$SSH $NAME 'echo out; echo err >&2; exit 3' 2>$SIDE/err; echo $?; cat $SIDE/err`},
	{"OpenSSH by address", `ssh $PLAIN 127.0.0.1 'echo out; exit 4'; echo $?`},
	{"OpenSSH by the host's certificate", `$SSH -o UserKnownHostsFile=$SIDE/authorities $NAME 'echo out'; echo $?`},
	{"OpenSSH with input", `seq 100000 | $SSH $NAME 'wc -c; cat /dev/null'; echo $?`},
	{"OpenSSH with a terminal", `$SSH -tt $NAME 'tty >/dev/null && echo terminal' | tr -d '\r'`},
	{"OpenSSH with a shell", `echo 'echo from a shell; exit 5' | $SSH -T $NAME; echo $?`},
	{"OpenSSH, several commands on one connection", `$SSH -M -S $SIDE/mux -o ControlPersist=60 -fN $NAME; for i in 1 2 3; do $SSH -S $SIDE/mux $NAME "echo $i"; done; $SSH -S $SIDE/mux -O exit $NAME`},
	{"scp -O to and from", `head -c 3000000 /dev/zero >$SIDE/a; scp -O -q $OPTIONS $SIDE/a $NAME:$FAR/a && scp -O -q $OPTIONS $NAME:$FAR/a $SIDE/b && cmp $SIDE/a $SIDE/b && echo same`},
	{"scp -O -r of a folder", `mkdir -p $SIDE/d/e; echo 1 >$SIDE/d/x; echo 2 >$SIDE/d/e/y; scp -O -q -r $OPTIONS $SIDE/d $NAME:$FAR/d && scp -O -q -r $OPTIONS $NAME:$FAR/d $SIDE/d2 && diff -r $SIDE/d $SIDE/d2 && echo same`},
	{"scp by sftp", `echo 1 >$SIDE/s; scp -q $OPTIONS $SIDE/s $NAME:$FAR/s && scp -q $OPTIONS $NAME:$FAR/s $SIDE/s2 && cmp $SIDE/s $SIDE/s2 && echo same`},
	{"sftp", `seq 50000 >$SIDE/f; printf 'put %s %s\nget %s %s\nmkdir %s\nrename %s %s\nls -1 %s\n' $SIDE/f $FAR/f $FAR/f $SIDE/f2 $FAR/fd $FAR/f $FAR/fd/g $FAR/fd | sftp -q -b - $OPTIONS $NAME | grep -v '^sftp>'; cmp $SIDE/f $SIDE/f2 && echo same`},
	{"rsync to and from", `mkdir -p $SIDE/r; for i in 1 2 3 4 5; do seq $i 1000 >$SIDE/r/$i; done; $RSYNC -a --rsync-path=$RSYNC -e "$SSH" $SIDE/r/ $NAME:$FAR/r && $RSYNC -a --rsync-path=$RSYNC -e "$SSH" $NAME:$FAR/r/ $SIDE/r2 && diff -r $SIDE/r $SIDE/r2 && echo same`},
	{"git clone, commit and push", `$SSH $NAME "git init -q --bare $FAR/g"; export GIT_SSH_COMMAND="$SSH"; git clone -q $NAME:$FAR/g $SIDE/g 2>&1 | grep -v empty; cd $SIDE/g && git -c user.name=a -c user.email=a@b commit -q --allow-empty -m one && git push -q origin HEAD:main && git ls-remote origin main | wc -l; git clone -q -b main $NAME:$FAR/g $SIDE/g2 && git -C $SIDE/g2 log --format=%s`},
	{"a libssh2 client (curl), scp from", `seq 20000 >$FARFILE; curl -sS --fail -o $SIDE/c "scp://deploy@127.0.0.1:$PORT$FARFILE" --key $KEY --pubkey $KEY.pub && cmp $SIDE/c $FARFILE && echo same`},
	{"a libssh2 client (curl), scp to", `seq 20000 >$SIDE/u; curl -sS --fail -T $SIDE/u "scp://deploy@127.0.0.1:$PORT$FAR/u" --key $KEY --pubkey $KEY.pub; cmp $SIDE/u $FAR/u && echo same`},
	{"a libssh2 client (curl), sftp", `seq 20000 >$FARFILE; curl -sS --fail --max-time 20 -o $SIDE/c "sftp://deploy@127.0.0.1:$PORT$FARFILE" --key $KEY --pubkey $KEY.pub; echo $?`},
	{"a libssh2 client (curl), sftp to, renamed, listed, removed", `seq 20000 >$SIDE/u; far=sftp://deploy@127.0.0.1:$PORT$FAR; keys="--max-time 60 --key $KEY --pubkey $KEY.pub"
curl -sS $keys -Q "mkdir $FAR/curl" $far/ >/dev/null && curl -sS $keys -T $SIDE/u $far/curl/u && curl -sS $keys -T $SIDE/u --ftp-create-dirs $far/curl/made/u && cmp $SIDE/u $FAR/curl/u && echo same
curl -sS $keys -Q "rename $FAR/curl/u $FAR/curl/v" -Q "chmod 640 $FAR/curl/v" -Q "symlink v $FAR/curl/l" -l $far/curl/ | sort; stat -c %a $FAR/curl/v
curl -sS $keys -r 5-20 $far/curl/v; curl -sS $keys --append -T $SIDE/u $far/curl/v; wc -c <$FAR/curl/v; curl -sS $keys $far/curl/none; echo $?
curl -sS $keys -Q "rm $FAR/curl/l" -Q "rm $FAR/curl/v" -Q "rm $FAR/curl/made/u" -Q "rmdir $FAR/curl/made" -Q "rmdir $FAR/curl" -l $far/ | grep -c curl`},
	{"Paramiko", `/usr/bin/python3 $SIDE/client.py`},
}

const paramiko = `import os, sys, paramiko
c = paramiko.SSHClient()
c.load_host_keys(os.environ["HOME"] + "/.ssh/known_hosts")
c.set_missing_host_key_policy(paramiko.RejectPolicy())
c.connect("127.0.0.1", port=int(os.environ["PORT"]), username="deploy", key_filename=os.environ["KEY"], allow_agent=False, look_for_keys=False, timeout=60)
i, o, e = c.exec_command("cat; echo err >&2; exit 7")
i.write("input"); i.channel.shutdown_write()
print(o.read(), e.read(), o.channel.recv_exit_status())
for n in range(5):
    i, o, e = c.exec_command("echo %d" % n)
    print(o.read())
ch = c.get_transport().open_session(); ch.get_pty(); ch.exec_command("test -t 0 && echo terminal")
print(ch.makefile().read())
s = c.open_sftp()
far, side = os.environ["FAR"] + "/paramiko", os.environ["SIDE"]
s.mkdir(far, 0o755)
data = os.urandom(3000000)
with open(side + "/random", "wb") as f: f.write(data)
print(s.put(side + "/random", far + "/put").st_size)
s.get(far + "/put", side + "/got")
print(open(side + "/got", "rb").read() == data)
s.rename(far + "/put", far + "/renamed"); s.posix_rename(far + "/renamed", far + "/again")
with s.open(far + "/again", "r+") as f:
    f.seek(10); f.write(b"in the middle"); f.seek(8); print(f.read(15)[2:])
with s.open(far + "/appended", "a") as f: f.write("one")
with s.open(far + "/appended", "a") as f: f.write("two")
print(s.open(far + "/appended").read())
s.symlink("again", far + "/link"); print(s.readlink(far + "/link"), s.normalize(far + "/link") == far + "/again")
s.chmod(far + "/again", 0o640); s.utime(far + "/again", (1, 2)); a = s.stat(far + "/again"); print(oct(a.st_mode), a.st_size, a.st_mtime)
s.truncate(far + "/again", 7); print(s.lstat(far + "/again").st_size)
print(sorted(s.listdir(far)), sorted((a.filename, a.st_size) for a in s.listdir_iter(far) if a.filename != "link"))
for do in (lambda: s.open(far + "/none"), lambda: s.rmdir(far), lambda: s.mkdir(far), lambda: s.open(far + "/again", "x")):
    try: do()
    except IOError as e: print(type(e).__name__, e.errno, e)
s.remove(far + "/link"); s.remove(far + "/again"); s.remove(far + "/appended"); s.rmdir(far)
print(s.listdir(os.environ["FAR"]).count("paramiko"))
c.close()
`

// side is a way to the server, with what its clients need.
type side struct {
	name   string
	port   int
	folder string
	key    xssh.PublicKey
}

func runClients(b *bench) (report difference.Report, err error) {
	server, err := sshserver.Start()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, server.Stop()) }()
	denied := filepath.Join(b.folder, "clients-denied.log")
	keys, err := trust.LoadHostKeys(b.folder)
	if err != nil {
		return nil, err
	}
	signers, err := keys.Signers()
	if err != nil {
		return nil, err
	}
	s, err := newSidecar(signers, sshserver.User, server.KnownHosts(sshserver.Host, 22), server.UserKey, denied)
	if err != nil {
		return nil, err
	}
	s.dial = func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", server.Address())
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer l.Close()
	go s.listen(l)
	port := l.Addr().(*net.TCPAddr).Port
	own, err := xssh.NewPublicKey(keys.Host.Public())
	if err != nil {
		return nil, err
	}
	hosts := []trust.SSHHost{{Host: sshserver.Host, Port: 22}, {Host: "127.0.0.1", Port: uint16(port)}}
	sides := []*side{
		{"direct", server.Port, filepath.Join(b.folder, "clients-direct"), server.HostKey},
		{"sidecar", port, filepath.Join(b.folder, "clients-sidecar"), own},
	}
	for _, s := range sides {
		known := append(server.KnownHosts(sshserver.Host, 22), server.KnownHosts("127.0.0.1", server.Port)...)
		authorities := append([]byte("@cert-authority * "), xssh.MarshalAuthorizedKey(server.HostAuthority)...)
		if s.name == "sidecar" {
			known = keys.KnownHosts(hosts)
			authorities = nil
			for line := range bytes.Lines(known) {
				if bytes.HasPrefix(line, []byte("@")) {
					authorities = append(authorities, line...)
				}
			}
		}
		if err := s.furnish(server, known, authorities); err != nil {
			return nil, err
		}
	}
	out := make(difference.Report)
	all := append([]client{{name: "Go"}}, clients...)
	for _, c := range all {
		if !b.wants(c.name) {
			continue
		}
		_ = os.Truncate(denied, 0)
		var said [2]string
		for i, s := range sides {
			if c.name == "Go" {
				said[i] = s.inGo(server)
			} else {
				said[i] = s.shell(b, server, c)
			}
		}
		r := difference.Result{Differs: said[0] != said[1], Refusals: make(map[string]struct{})}
		was, _ := os.ReadFile(denied)
		for line := range strings.Lines(string(was)) {
			r.Refusals[strings.TrimSpace(line)] = struct{}{}
		}
		fmt.Printf("%-45s %.300q\n", c.name, said[0])
		if r.Differs {
			fmt.Printf("%-45s %.600q\n", "  through the sidecar", said[1])
		}
		out[c.name] = r
	}
	return out, nil
}

// furnish makes the side's folders.
func (s *side) furnish(server *sshserver.Server, known, authorities []byte) error {
	if err := os.RemoveAll(s.folder); err != nil {
		return err
	}
	public, err := xssh.ParsePrivateKey(server.UserKey)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(s.folder, ".ssh"), 0o755); err != nil {
		return err
	}
	for name, text := range map[string][]byte{
		".ssh/known_hosts": known, "authorities": authorities, "key": server.UserKey,
		"key.pub": xssh.MarshalAuthorizedKey(public.PublicKey()), "client.py": []byte(paramiko),
	} {
		if err := os.WriteFile(filepath.Join(s.folder, name), text, 0o600); err != nil {
			return err
		}
	}
	far := s.far(server)
	if err := os.MkdirAll(far, 0o777); err != nil {
		return err
	}
	return os.Chmod(far, 0o777)
}

// far is the side's folder in the home of the server's user.
func (s *side) far(server *sshserver.Server) string {
	return filepath.Join(server.HomeOf(sshserver.User), s.name)
}

// shell runs a client and returns all that it said, without what tells the sides apart.
func (s *side) shell(b *bench, server *sshserver.Server, c client) string {
	plain := strings.Join([]string{
		"-F none", "-o Port=" + strconv.Itoa(s.port), "-o User=" + sshserver.User,
		"-o UserKnownHostsFile=" + s.folder + "/.ssh/known_hosts", "-o GlobalKnownHostsFile=/dev/null", "-o StrictHostKeyChecking=yes", "-o BatchMode=yes",
		"-o IdentityAgent=none", "-o IdentityFile=" + s.folder + "/key", "-o IdentitiesOnly=yes", "-o LogLevel=ERROR",
	}, " ")
	options := plain + " -o Hostname=127.0.0.1 -o HostKeyAlias=" + sshserver.Host
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-c", c.text)
	far := s.far(server)
	ssh := filepath.Join(s.folder, "ssh-with-options")
	if err := os.WriteFile(ssh, []byte(wrapper(filepath.Join(b.installation.Bin, "ssh"), options)), 0o755); err != nil {
		return err.Error()
	}
	cmd.Env = append(b.installation.Environment(),
		"HOME="+s.folder, "SSH="+ssh, "PLAIN="+plain, "OPTIONS="+options+" -S "+filepath.Join(b.installation.Bin, "ssh"),
		"NAME="+sshserver.Host, "PORT="+strconv.Itoa(s.port), "SIDE="+s.folder, "FAR="+far, "FARFILE="+filepath.Join(far, "file"), "KEY="+filepath.Join(s.folder, "key"),
		"RSYNC="+b.installation.rsync, "PYTHONPATH="+b.installation.python, "PATH="+b.installation.Bin+":/usr/bin:/bin", "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*")
	cmd.Dir = s.folder
	cmd.WaitDelay = time.Second
	said, err := cmd.CombinedOutput()
	if err != nil {
		said = fmt.Appendf(said, "%v\n", err)
	}
	return strings.NewReplacer(s.folder, "SIDE", far, "FAR", ":"+strconv.Itoa(s.port), ":PORT").Replace(string(said))
}

// wrapper runs ssh with options behind those that it is given: of each the first counts.
func wrapper(ssh, options string) string {
	return "#!/bin/bash\ngiven=(); while [[ \"$1\" == -* ]]; do given+=(\"$1\"); case \"$1\" in -o|-S|-O|-p|-l|-W|-L|-R|-D) given+=(\"$2\"); shift;; esac; shift; done\n" +
		"exec " + ssh + " \"${given[@]}\" " + options + " \"$@\"\n"
}

// inGo is the client of golang.org/x/crypto/ssh.
func (s *side) inGo(server *sshserver.Server) string {
	key, err := xssh.ParsePrivateKey(server.UserKey)
	if err != nil {
		return err.Error()
	}
	c, err := xssh.Dial("tcp", "127.0.0.1:"+strconv.Itoa(s.port), &xssh.ClientConfig{
		User: sshserver.User, Auth: []xssh.AuthMethod{xssh.PublicKeys(key)}, HostKeyCallback: xssh.FixedHostKey(s.key), HostKeyAlgorithms: []string{xssh.KeyAlgoED25519}, Timeout: time.Minute,
	})
	if err != nil {
		return err.Error()
	}
	defer c.Close()
	var said strings.Builder
	for _, command := range []string{"echo out; echo err >&2", "cat", "exit 9", "kill -KILL $$", "head -c 1000000 /dev/zero"} {
		session, err := c.NewSession()
		if err != nil {
			return err.Error()
		}
		session.Stdin = strings.NewReader("input")
		var out, errs bytes.Buffer
		session.Stdout, session.Stderr = &out, &errs
		err = session.Run(command)
		fmt.Fprintf(&said, "%x %q %v\n", sha256.Sum256(out.Bytes()), errs.String(), err)
		session.Close()
	}
	return said.String()
}
