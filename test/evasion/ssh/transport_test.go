package ssh

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/chaperone-dev/chaperone/test/sshserver"
	"github.com/chaperone-dev/chaperone/test/sshsidecar"
)

// TestHandshakes tries what is no handshake, or a worse one than the sidecar's.
func TestHandshakes(t *testing.T) {
	needServer(t)
	s := sshsidecar.Start(t, server, policies()["deny"])
	furnish(t)
	const good = "SSH-2.0-OpenSSH_9.9\r\n"
	for name, bytes := range map[string]string{
		"nothing":                                  "",
		"a version without an end":                 "SSH-2.0-" + strings.Repeat("x", 1<<20),
		"lines in front of the version":            strings.Repeat("hello\r\n", 10000) + good,
		"the first version of the protocol":        "SSH-1.5-old\r\n",
		"a version between both":                   "SSH-1.99-old\r\n",
		"a version that is too large a number":     "SSH-2.0-OpenSSH_99999999999999999999.99999999999999999999\r\n",
		"a version of NULs":                        "SSH-2.0-\x00\x00\x00\r\n",
		"a request of another protocol":            "GET / HTTP/1.1\r\nHost: bastion.test\r\n\r\n",
		"a greeting of TLS":                        "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
		"a packet of four gigabytes":               good + "\xff\xff\xff\xff\x04\x14",
		"a packet of no bytes":                     good + "\x00\x00\x00\x00\x00\x00\x00\x00",
		"a packet with more padding than bytes":    good + "\x00\x00\x00\x0c\xff\x14aaaaaaaaaa",
		"a packet that is cut":                     good + "\x00\x00\x01\x00\x04\x14aaaa",
		"a key exchange of nothing":                good + packet("\x14"+strings.Repeat("\x00", 16+10*4+1+4)),
		"a key exchange whose lists lie":           good + packet("\x14"+strings.Repeat("\x00", 16)+strings.Repeat("\xff\xff\xff\xff", 10)+"\x00\x00\x00\x00\x00"),
		"a channel before any key":                 good + packet("\x5a"+text("session")+"\x00\x00\x00\x00\x00\x10\x00\x00\x00\x00\x80\x00"),
		"a command before any key":                 good + packet("\x62\x00\x00\x00\x00"+text("exec")+"\x01"+text("touch mark")),
		"a user before any key":                    good + packet("\x32"+text("root")+text("ssh-connection")+text("none")),
		"an answer that only servers give":         good + packet("\x34"),
		"new keys before any exchange":             good + packet("\x15"),
		"a goodbye":                                good + packet("\x01\x00\x00\x00\x0b"+text("bye")+text("")),
		"messages to be ignored, and no handshake": good + strings.Repeat(packet("\x02"+text("x")), 1000),
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := net.Dial("tcp", s.Address())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(patience))
			go func() {
				_, _ = io.WriteString(conn, bytes)
				_ = conn.(*net.TCPConn).CloseWrite()
			}()
			received, err := io.ReadAll(io.LimitReader(conn, 1<<20))
			var timeout net.Error
			if ok := asTimeout(err, &timeout); ok {
				t.Errorf("the sidecar does not hang up: %d bytes", len(received))
			}
			// Its version and its own offer; nothing more may come, and no state of a later phase.
			if len(received) > 8<<10 {
				t.Errorf("%d bytes were received", len(received))
			}
		})
	}
	if got := execute(t, s.Client(t), "echo alive", ""); got.stdout != "alive\n" {
		t.Errorf("the sidecar is of no use any more: %s", got)
	}
	if changed := untouched(); changed != "" {
		t.Error(changed)
	}
}

func asTimeout(err error, to *net.Error) bool {
	t, ok := err.(net.Error) //nolint:errorlint // net.Conn returns it bare
	*to = t
	return ok && t.Timeout()
}

// packet is an unencrypted packet (RFC 4253 6).
func packet(payload string) string {
	padding := 8 - (len(payload)+5)%8
	if padding < 4 {
		padding += 8
	}
	n := uint32(len(payload) + padding + 1)
	return string([]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n), byte(padding)}) + payload + strings.Repeat("\x00", padding)
}

// text is a string (RFC 4251 5).
func text(s string) string {
	n := uint32(len(s))
	return string([]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}) + s
}

// TestDowngrades offers algorithms that are not to be used.
func TestDowngrades(t *testing.T) {
	needServer(t)
	s := sshsidecar.Start(t, server, policies()["allow"])
	for name, config := range map[string]ssh.Config{
		"a cipher in CBC":                      {Ciphers: []string{ssh.InsecureCipherAES128CBC}},
		"triple DES":                           {Ciphers: []string{ssh.InsecureCipherTripleDESCBC}},
		"RC4":                                  {Ciphers: []string{ssh.InsecureCipherRC4}},
		"a cipher that the sidecar is slow at": {Ciphers: []string{ssh.CipherChaCha20Poly1305}},
		"a key exchange of 1024 bits":          {KeyExchanges: []string{ssh.InsecureKeyExchangeDH1SHA1}},
		"a key exchange with SHA-1":            {KeyExchanges: []string{ssh.InsecureKeyExchangeDH14SHA1}},
		"a key exchange of chosen groups":      {KeyExchanges: []string{ssh.InsecureKeyExchangeDHGEXSHA1}},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := ssh.Dial("tcp", s.Address(), &ssh.ClientConfig{Config: config, User: "x", HostKeyCallback: ssh.InsecureIgnoreHostKey(), Timeout: patience}) // an adversary does not care
			if err == nil {
				c.Close()
				t.Error("it was taken")
			}
		})
	}
	for name, algorithm := range map[string]string{"a host key of RSA with SHA-1": ssh.KeyAlgoRSA, "a host key of DSA": ssh.InsecureKeyAlgoDSA} { //nolint:staticcheck // SA1019: that it is insecure is why it is tried
		t.Run(name, func(t *testing.T) {
			c, err := ssh.Dial("tcp", s.Address(), &ssh.ClientConfig{User: "x", HostKeyAlgorithms: []string{algorithm}, HostKeyCallback: ssh.InsecureIgnoreHostKey(), Timeout: patience}) // an adversary does not care
			if err == nil {
				c.Close()
				t.Error("it was taken")
			}
		})
	}
}

// TestUsers names users that the policy does not.
func TestUsers(t *testing.T) {
	needServer(t)
	names := map[string]string{
		"the superuser": "root", "another user of the server": sshserver.OtherUser, "nobody": "", "one with a NUL behind": sshserver.User + "\x00root",
		"one with a space behind": sshserver.User + " ", "one in capital letters": "DEPLOY", "one with a host": sshserver.User + "@x", "an option": "-oProxyCommand=touch mark",
		"a very long one": strings.Repeat("a", 8000), "a command": "$(touch mark)", "a path": "../../root",
	}
	login := func(t *testing.T, s *sshsidecar.Sidecar, user string) *ssh.Client {
		t.Helper()
		c, err := ssh.Dial("tcp", s.Address(), &ssh.ClientConfig{
			User: user, Auth: []ssh.AuthMethod{ssh.Password("any")}, HostKeyCallback: ssh.InsecureIgnoreHostKey(), Timeout: patience, // see above
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	fixed := sshsidecar.Start(t, server, policies()["allow"])
	listed := policies()["allow"]
	listed.User, listed.Users = "", []string{sshserver.User}
	choice := sshsidecar.Start(t, server, listed)
	for name, user := range names {
		t.Run(name, func(t *testing.T) {
			if got := execute(t, login(t, fixed, user), "printenv LOGNAME", ""); got.stdout != sshserver.User+"\n" {
				t.Errorf("where the policy says the user: %s", got)
			}
			got := execute(t, login(t, choice, user), "printenv LOGNAME", "")
			if got.stdout != "" || got.status != 126 || !strings.Contains(got.stderr, "chaperone: denied: user") {
				t.Errorf("where the policy lists users: %s", got)
			}
		})
	}
	if got := execute(t, login(t, choice, sshserver.User), "printenv LOGNAME", ""); got.stdout != sshserver.User+"\n" {
		t.Errorf("the user that is listed: %s", got)
	}
	lines := strings.Count(server.Log(), "Accepted publickey for "+sshserver.OtherUser)
	if lines != 0 {
		t.Errorf("the server let %s in %d times", sshserver.OtherUser, lines)
	}
}

// TestFloods asks for more than there is.
func TestFloods(t *testing.T) {
	needServer(t)
	s := sshsidecar.Start(t, server, policies()["deny"])
	furnish(t)
	alive := func(t *testing.T, c *ssh.Client) {
		t.Helper()
		if got := execute(t, c, "echo alive", ""); got.stdout != "alive\n" {
			t.Errorf("of no use any more: %s", got)
		}
	}
	t.Run("of connections that say nothing", func(t *testing.T) {
		for range 300 {
			conn, err := net.Dial("tcp", s.Address())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
		}
		alive(t, s.Client(t))
	})
	t.Run("of connections that begin a handshake", func(t *testing.T) {
		for range 200 {
			conn, err := net.Dial("tcp", s.Address())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_, _ = io.WriteString(conn, "SSH-2.0-x\r\n\x00\x00\x10\x00")
		}
		alive(t, s.Client(t))
	})
	t.Run("of channels that ask for nothing", func(t *testing.T) {
		c := s.Client(t)
		var opened []ssh.Channel
		refused := 0
		for range 400 {
			channel, requests, err := c.OpenChannel("session", nil)
			if err != nil {
				refused++
				continue
			}
			go ssh.DiscardRequests(requests)
			opened = append(opened, channel)
		}
		if refused == 0 || len(opened) == 0 {
			t.Errorf("%d were opened, %d refused", len(opened), refused)
		}
		for _, channel := range opened {
			channel.Close()
		}
		if !eventually(func() bool {
			channel, requests, err := c.OpenChannel("session", nil)
			if err != nil {
				return false
			}
			go ssh.DiscardRequests(requests)
			channel.Close()
			return true
		}) {
			t.Error("no channel can be opened any more")
		}
		alive(t, c)
	})
	t.Run("of commands that are denied", func(t *testing.T) {
		c := s.Client(t)
		for range 300 {
			channel, requests, err := c.OpenChannel("session", nil)
			if err != nil {
				t.Fatal(err)
			}
			go ssh.DiscardRequests(requests)
			_, _ = channel.SendRequest("exec", false, ssh.Marshal(struct{ T string }{"touch mark"}))
			channel.Close()
		}
		alive(t, c)
	})
	t.Run("of input to what does not read it", func(t *testing.T) {
		c := s.Client(t)
		o := open(t, c)
		o.ask("exec", "sleep 1")
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, _ = io.CopyN(o, zeros{}, 64<<20)
		}()
		alive(t, c)
		o.end()
		o.Close()
		<-done
		alive(t, c)
	})
	t.Run("of output that nobody reads", func(t *testing.T) {
		c := s.Client(t)
		channel, requests, err := c.OpenChannel("session", nil)
		if err != nil {
			t.Fatal(err)
		}
		go ssh.DiscardRequests(requests)
		if _, err := channel.SendRequest("exec", true, ssh.Marshal(struct{ T string }{"cat /dev/zero"})); err != nil {
			t.Fatal(err)
		}
		alive(t, c)
		channel.Close()
		alive(t, c)
	})
	t.Run("of new keys", func(t *testing.T) {
		plain, err := ssh.NewPublicKey(s.HostKeys.Host.Public())
		if err != nil {
			t.Fatal(err)
		}
		c, err := ssh.Dial("tcp", s.Address(), &ssh.ClientConfig{
			Config: ssh.Config{RekeyThreshold: 256}, User: "x", HostKeyCallback: ssh.FixedHostKey(plain), HostKeyAlgorithms: []string{ssh.KeyAlgoED25519}, Timeout: patience,
		})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		want := strings.Repeat("0123456789abcdef", 4<<10)
		if got := execute(t, c, "cat", want); got.stdout != want {
			t.Errorf("%d bytes came back", len(got.stdout))
		}
		alive(t, c)
	})
	if changed := untouched(); changed != "" {
		t.Error(changed)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }
