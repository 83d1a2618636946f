package ssh

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/test/sshserver"
	"github.com/chaperone-dev/chaperone/test/sshsidecar"
)

type tcpTarget struct {
	Host       string
	Port       uint32
	Originator string
	FromPort   uint32
}

type localTarget struct {
	Path     string
	Reserved string
	Port     uint32
}

// dig opens a channel through the server and reports what came out of it.
func dig(c *ssh.Client, kind string, payload []byte) (string, error) {
	channel, requests, err := c.OpenChannel(kind, payload)
	if err != nil {
		return "", err
	}
	defer channel.Close()
	go ssh.DiscardRequests(requests)
	var out bytes.Buffer
	_, _ = out.ReadFrom(channel)
	return out.String(), nil
}

// TestTunnels tries to get behind the server.
func TestTunnels(t *testing.T) {
	needServer(t)
	l := land(t, "tcp", "127.0.0.1:0")
	path := filepath.Join(t.TempDir(), "s")
	local := land(t, "unix", path)
	for dir := path; dir != "/tmp" && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	port := uint32(l.Addr().(*net.TCPAddr).Port)
	tcp := func(host string, port uint32) []byte { return ssh.Marshal(tcpTarget{host, port, "127.0.0.1", 1}) }
	type attack struct {
		kind    string
		payload []byte
		harms   bool // past the sidecar
	}
	attacks := map[string]attack{
		"to a port by its address":             {"direct-tcpip", tcp("127.0.0.1", port), true},
		"to a port by a name":                  {"direct-tcpip", tcp("localhost", port), true},
		"to a port by a short address":         {"direct-tcpip", tcp("127.1", port), true},
		"to a port by a number":                {"direct-tcpip", tcp("2130706433", port), true},
		"to a port by a hexadecimal number":    {"direct-tcpip", tcp("0x7f000001", port), true},
		"to a port by an octal address":        {"direct-tcpip", tcp("0177.0.0.1", port), true},
		"to a port by another local address":   {"direct-tcpip", tcp("127.0.0.2", port), false},
		"to a port by no address":              {"direct-tcpip", tcp("0.0.0.0", port), true},
		"to a port by a mapped address":        {"direct-tcpip", tcp("::ffff:127.0.0.1", port), true},
		"to a port by an empty name":           {"direct-tcpip", tcp("", port), false},
		"to a port with brackets":              {"direct-tcpip", tcp("[127.0.0.1]", port), false},
		"to a port with a NUL behind":          {"direct-tcpip", tcp("127.0.0.1\x00.allowed.test", port), false},
		"to a port with a newline behind":      {"direct-tcpip", tcp("127.0.0.1\n", port), false},
		"to a port beyond sixteen bits":        {"direct-tcpip", tcp("127.0.0.1", port+1<<16), false},
		"to a port with the port in the name":  {"direct-tcpip", tcp("127.0.0.1:"+strconv.Itoa(int(port)), 0), false},
		"to a port with a request that is cut": {"direct-tcpip", tcp("127.0.0.1", port)[:12], false},
		"to a port with bytes behind":          {"direct-tcpip", append(tcp("127.0.0.1", port), "more"...), false},
		"to a port with a length that lies":    {"direct-tcpip", []byte("\xff\xff\xff\xf0127.0.0.1"), false},
		"to a port by the server's channel":    {"forwarded-tcpip", tcp("127.0.0.1", port), false},
		"to a socket":                          {"direct-streamlocal@openssh.com", ssh.Marshal(localTarget{path, "", 0}), true},
		"to a socket by a path with dots":      {"direct-streamlocal@openssh.com", ssh.Marshal(localTarget{filepath.Dir(path) + "/./../" + filepath.Base(filepath.Dir(path)) + "/s", "", 0}), true},
		"to a socket by a path that goes on":   {"direct-streamlocal@openssh.com", ssh.Marshal(localTarget{path + "\x00x", "", 0}), false},
		"to a socket by the server's channel":  {"forwarded-streamlocal@openssh.com", ssh.Marshal(struct{ P, R string }{path, ""}), false},
		"to a socket as a port":                {"direct-tcpip", tcp(path, 0), false},
		"to a device of the network":           {"tun@openssh.com", []byte{0, 0, 0, 1, 0x7f, 0xff, 0xff, 0xff}, false},
		"to an agent":                          {"auth-agent@openssh.com", nil, false},
		"to a display": {"x11", ssh.Marshal(struct {
			Host string
			Port uint32
		}{"127.0.0.1", port}), false},
		"to what no one knows": {"evil@example.com", tcp("127.0.0.1", port), false},
	}
	past := direct(t)
	for name, p := range policies() {
		p.Rules = append(p.Rules, policy.Rule{Name: "one-door", Action: policy.Allow, Match: policy.Match{
			Forwarding: []string{"Local"}, Addresses: []string{"allowed.test:*", "10.*:22"},
		}})
		t.Run("under "+name, func(t *testing.T) {
			c := sshsidecar.Start(t, server, p).Client(t)
			for name, a := range attacks {
				t.Run(name, func(t *testing.T) {
					if a.harms {
						if got, err := dig(past, a.kind, a.payload); got != "landed\n" {
							t.Errorf("past the sidecar it leads nowhere: %q, %v", got, err)
						}
					}
					before := l.visitors() + local.visitors()
					got, err := dig(c, a.kind, a.payload)
					if err == nil || got != "" {
						t.Errorf("it was opened: %q", got)
					}
					if l.visitors()+local.visitors() != before {
						t.Error("it led somewhere")
					}
					if a.harms && !strings.Contains(err.Error(), "prod/ops") {
						t.Errorf("the refusal does not name the policy: %v", err)
					}
					if got := execute(t, c, "echo alive", ""); got.stdout != "alive\n" {
						t.Errorf("the connection is of no use any more: %s", got)
					}
				})
			}
		})
	}
	t.Run("with OpenSSH's own client, -W and -L", func(t *testing.T) {
		s := sshsidecar.Start(t, server, policies()["deny"])
		before := l.visitors()
		out, err := s.Command("ssh", "-W", l.Addr().String(), sshsidecar.Host).CombinedOutput()
		if err == nil || strings.Contains(string(out), "landed") || l.visitors() != before {
			t.Errorf("%v %q", err, out)
		}
	})
}

// TestListeners tries to make the server listen.
func TestListeners(t *testing.T) {
	needServer(t)
	free := func() uint32 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		return uint32(l.Addr().(*net.TCPAddr).Port)
	}
	type listen struct {
		Host string
		Port uint32
	}
	for name, p := range policies() {
		t.Run("under "+name, func(t *testing.T) {
			c := sshsidecar.Start(t, server, p).Client(t)
			furnish(t)
			for name, host := range map[string]string{
				"on the loopback address": "127.0.0.1", "on every address": "0.0.0.0", "on an empty address": "", "on a name": "localhost",
				"on a star": "*", "on the loopback address of IPv6": "::1", "on a mapped address": "::ffff:127.0.0.1",
			} {
				t.Run(name, func(t *testing.T) {
					port := free()
					ok, _, err := c.SendRequest("tcpip-forward", true, ssh.Marshal(listen{host, port}))
					if ok || err != nil {
						t.Errorf("it was granted: %v, %v", ok, err)
					}
					if conn, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(int(port)))); err == nil {
						conn.Close()
						t.Error("the server listens")
					}
				})
			}
			socket := filepath.Join(server.HomeOf(sshserver.User), "mark")
			for name, payload := range map[string][]byte{
				"on a port of the server's choice": ssh.Marshal(listen{"127.0.0.1", 0}),
				"on a port beyond sixteen bits":    ssh.Marshal(listen{"127.0.0.1", 1 << 20}),
				"with a request that is cut":       {0, 0, 0, 99},
				"with no request":                  nil,
			} {
				t.Run(name, func(t *testing.T) {
					if ok, _, err := c.SendRequest("tcpip-forward", true, payload); ok || err != nil {
						t.Errorf("it was granted: %v, %v", ok, err)
					}
				})
			}
			for name, kind := range map[string]string{
				"on a socket": "streamlocal-forward@openssh.com", "no more on what never listened": "cancel-tcpip-forward",
				"no more on a socket that never was": "cancel-streamlocal-forward@openssh.com", "by a request that no one knows": "evil@example.com",
				"by asking for proofs of host keys": "hostkeys-prove-00@openssh.com",
			} {
				t.Run(name, func(t *testing.T) {
					if ok, _, err := c.SendRequest(kind, true, ssh.Marshal(struct{ Path string }{socket})); ok || err != nil {
						t.Errorf("it was granted: %v, %v", ok, err)
					}
				})
			}
			t.Run("by requests without end", func(t *testing.T) {
				many(5000, func() { _, _, _ = c.SendRequest("tcpip-forward", false, ssh.Marshal(listen{"127.0.0.1", 1})) })
				many(5000, func() { _, _, _ = c.SendRequest("keepalive@openssh.com", false, nil) })
				if ok, _, err := c.SendRequest("keepalive@openssh.com", true, nil); !ok || err != nil {
					t.Errorf("the connection is of no use any more: %v, %v", ok, err)
				}
			})
			if changed := untouched(); changed != "" {
				t.Error(changed)
			}
		})
	}
}

// TestForwardingsOfSessions tries to have the server reach back: to an agent's keys, to a display.
func TestForwardingsOfSessions(t *testing.T) {
	needServer(t)
	x11 := ssh.Marshal(struct {
		Single           bool
		Protocol, Cookie string
		Screen           uint32
	}{false, "MIT-MAGIC-COOKIE-1", "00112233445566778899aabbccddeeff", 0})
	c := sshsidecar.Start(t, server, policies()["allow"]).Client(t)
	past := direct(t)
	for name, tc := range map[string]struct {
		kind     string
		payload  []byte
		variable string
		times    int
		control  bool
	}{
		"to an agent":                        {"auth-agent-req@openssh.com", nil, "SSH_AUTH_SOCK", 1, true},
		"to an agent, many times":            {"auth-agent-req@openssh.com", nil, "SSH_AUTH_SOCK", 100, false},
		"to an agent, with bytes behind":     {"auth-agent-req@openssh.com", []byte("more"), "SSH_AUTH_SOCK", 1, false},
		"to an agent, by the older name":     {"auth-agent-req", nil, "SSH_AUTH_SOCK", 1, false},
		"to a display":                       {"x11-req", x11, "DISPLAY", 1, false},
		"to a display, with a cut request":   {"x11-req", x11[:7], "DISPLAY", 1, false},
		"to a display, with a lying length":  {"x11-req", append([]byte{1}, "\xff\xff\xff\xff"...), "DISPLAY", 1, false},
		"to a display, many times":           {"x11-req", x11, "DISPLAY", 100, false},
		"to a display, by a name in capital": {"X11-REQ", x11, "DISPLAY", 1, false},
	} {
		t.Run(name, func(t *testing.T) {
			ask := func(s *ssh.Session) {
				for range tc.times {
					_, _ = s.SendRequest(tc.kind, false, tc.payload)
				}
			}
			if tc.control {
				if got := execute(t, past, "printenv "+tc.variable, "", ask); got.stdout == "" {
					t.Errorf("past the sidecar the server does not get it either: %s", got)
				}
			}
			if got := execute(t, c, "printenv "+tc.variable, "", ask); got.stdout != "" {
				t.Errorf("the server got it: %s", got)
			}
		})
	}
}
