package ssh

import (
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/chaperone-dev/chaperone/test/sshsidecar"
)

// session is a channel whose requests the adversary chooses.
type session struct {
	ssh.Channel
	t       *testing.T
	out     lockedBuffer
	errs    lockedBuffer
	drained chan struct{} // closed once the other side has closed the channel
	status  chan uint32
}

func open(t *testing.T, c *ssh.Client) *session {
	t.Helper()
	channel, requests, err := c.OpenChannel("session", nil)
	if err != nil {
		t.Fatalf("the connection is gone: %v", err)
	}
	s := &session{Channel: channel, t: t, drained: make(chan struct{}), status: make(chan uint32, 1)}
	t.Cleanup(func() { channel.Close() })
	errs := make(chan struct{})
	go func() {
		defer close(errs)
		copyAll(&s.errs, channel.Stderr())
	}()
	go func() {
		copyAll(&s.out, channel)
		<-errs
	}()
	go func() {
		defer close(s.drained)
		for r := range requests {
			if r.Type == "exit-status" && len(r.Payload) == 4 {
				select {
				case s.status <- uint32(r.Payload[3]):
				default:
				}
			}
			if r.WantReply {
				_ = r.Reply(false, nil)
			}
		}
		<-errs
	}()
	return s
}

func copyAll(to *lockedBuffer, from interface{ Read([]byte) (int, error) }) {
	b := make([]byte, 4<<10)
	for {
		n, err := from.Read(b)
		_, _ = to.Write(b[:n])
		if err != nil {
			return
		}
	}
}

// ask sends a request and says whether it was granted.
func (s *session) ask(kind string, payload any) bool {
	var raw []byte
	switch p := payload.(type) {
	case nil:
	case []byte:
		raw = p
	case string:
		raw = ssh.Marshal(struct{ Text string }{p})
	default:
		raw = ssh.Marshal(p)
	}
	ok, err := s.SendRequest(kind, true, raw)
	return ok && err == nil
}

// tell sends a request and does not wait for its answer.
func (s *session) tell(kind string, payload string) {
	_, _ = s.SendRequest(kind, false, ssh.Marshal(struct{ Text string }{payload}))
}

// end waits until the other side has closed.
func (s *session) end() {
	s.t.Helper()
	select {
	case <-s.drained:
	case <-time.After(patience):
		s.t.Fatalf("no end within %s", patience)
	}
}

type env struct{ Name, Value string }

type pty struct {
	Term                         string
	Columns, Rows, Width, Height uint32
	Modes                        string
}

var terminal = pty{Term: "xterm", Columns: 80, Rows: 24, Modes: "\x00"}

// TestSessions tries requests in orders and shapes that no client sends.
func TestSessions(t *testing.T) {
	needServer(t)
	const typed = "touch mark\n"
	attacks := map[string]func(s *session){
		"a second command on a channel where the first runs": func(s *session) {
			s.ask("exec", "cat")
			if s.ask("exec", "touch mark") {
				s.t.Error("it was granted")
			}
			_ = s.CloseWrite()
		},
		"a second command before the first is answered": func(s *session) {
			s.tell("exec", "true")
			s.tell("exec", "touch mark")
			_ = s.CloseWrite()
		},
		"a command behind one that was denied": func(s *session) {
			s.tell("exec", "touch mark")
			s.tell("exec", "touch mark")
		},
		"a shell behind a command": func(s *session) {
			s.ask("exec", "cat")
			s.tell("shell", "")
			_, _ = s.Write([]byte(typed))
			_ = s.CloseWrite()
		},
		"a subsystem behind a command": func(s *session) { s.ask("exec", "cat"); s.tell("subsystem", "evil"); _ = s.CloseWrite() },
		"a command behind a subsystem": func(s *session) { s.tell("subsystem", "sftp"); s.tell("exec", "touch mark") },
		"a command behind a shell":     func(s *session) { s.tell("shell", ""); s.tell("exec", "touch mark") },
		"a terminal behind a command": func(s *session) {
			s.ask("exec", "cat")
			s.ask("pty-req", terminal)
			_, _ = s.Write([]byte(typed))
			_ = s.CloseWrite()
		},
		"a shell without a terminal": func(s *session) { s.ask("shell", nil); _, _ = s.Write([]byte(typed)); _ = s.CloseWrite() },
		"a shell on a terminal": func(s *session) {
			s.ask("pty-req", terminal)
			s.ask("shell", nil)
			_, _ = s.Write([]byte(typed))
			_ = s.CloseWrite()
		},
		"a shell whose request carries a text":   func(s *session) { s.ask("shell", "touch mark"); _, _ = s.Write([]byte(typed)); _ = s.CloseWrite() },
		"a shell that is fed before it is asked": func(s *session) { _, _ = s.Write([]byte(typed)); s.ask("shell", nil); _ = s.CloseWrite() },
		"a command on a terminal": func(s *session) {
			s.ask("pty-req", terminal)
			s.ask("exec", "cat keep")
			s.end()
			if strings.Contains(s.out.String(), "kept") {
				s.t.Error("it ran on a terminal that no rule allows")
			}
		},
		"a command on two terminals":      func(s *session) { s.ask("pty-req", terminal); s.ask("pty-req", terminal); s.ask("exec", "touch mark") },
		"a terminal whose request is cut": func(s *session) { s.ask("pty-req", []byte{0, 0, 0, 9, 'x'}); s.ask("exec", "touch mark") },
		"a terminal of a monstrous size": func(s *session) {
			s.ask("pty-req", pty{"xterm", 1 << 31, 1 << 31, 0, 0, ""})
			s.ask("exec", "touch mark")
		},
		"a terminal with modes without end": func(s *session) {
			s.ask("pty-req", pty{"xterm", 80, 24, 0, 0, strings.Repeat("\x80", 60<<10)})
			s.ask("exec", "touch mark")
		},
		"a terminal whose name is a command": func(s *session) {
			s.ask("pty-req", pty{"$(touch mark)", 80, 24, 0, 0, ""})
			s.ask("exec", "touch mark")
		},
		"a command whose request is empty": func(s *session) { s.ask("exec", nil) },
		"a command whose length lies":      func(s *session) { s.ask("exec", []byte("\xff\xff\xff\xfftouch mark")) },
		"a command with bytes behind it": func(s *session) {
			s.ask("exec", append(ssh.Marshal(struct{ T string }{"true"}), ssh.Marshal(struct{ T string }{"touch mark"})...))
		},
		"a command that is empty":                     func(s *session) { s.ask("exec", ""); _, _ = s.Write([]byte(typed)); _ = s.CloseWrite() },
		"a command of spaces":                         func(s *session) { s.ask("exec", "  \t "); _, _ = s.Write([]byte(typed)); _ = s.CloseWrite() },
		"a command of newlines":                       func(s *session) { s.ask("exec", "\n\n"); _, _ = s.Write([]byte(typed)); _ = s.CloseWrite() },
		"a command behind a signal":                   func(s *session) { s.tell("signal", "KILL"); s.ask("exec", "touch mark") },
		"a command behind many changes of the window": func(s *session) { many(1000, func() { s.tell("window-change", "x") }); s.ask("exec", "touch mark") },
		"a command behind requests that nobody knows": func(s *session) {
			many(1000, func() { s.tell("evil@example.com", "touch mark") })
			s.ask("exec", "touch mark")
		},
		"a command in capital letters of the request":  func(s *session) { s.ask("EXEC", "touch mark"); s.ask("exec", "touch mark") },
		"a command in a request with a NUL":            func(s *session) { s.ask("exec\x00", "touch mark"); s.ask("exec", "touch mark") },
		"a command by the request of a channel's open": func(s *session) { s.ask("session", "touch mark"); s.ask("exec", "touch mark") },
		"the status of a command that never ran":       func(s *session) { s.tell("exit-status", "0"); s.ask("exec", "touch mark") },
		"a subsystem that is a command":                func(s *session) { s.ask("subsystem", "touch mark") },
		"a subsystem of the server's":                  func(s *session) { s.ask("subsystem", "evil") },
		"a subsystem with a space behind its name":     func(s *session) { s.ask("subsystem", "evil ") },
		"a subsystem with a NUL behind its name":       func(s *session) { s.ask("subsystem", "evil\x00sftp") },
		"a subsystem with sftp's name in front":        func(s *session) { s.ask("subsystem", "sftp\nevil") },
		"a subsystem in capital letters":               func(s *session) { s.ask("subsystem", "EVIL") },
		"a subsystem without a name":                   func(s *session) { s.ask("subsystem", "") },
		"a subsystem on a terminal":                    func(s *session) { s.ask("pty-req", terminal); s.ask("subsystem", "evil") },
		"sftp's server as a command":                   func(s *session) { s.ask("exec", server.SFTPServer); _ = s.CloseWrite() },
		"a variable behind the command": func(s *session) {
			s.ask("exec", "cat")
			if s.ask("env", env{"LC_EVIL", "x"}) {
				s.t.Error("it was granted")
			}
			_ = s.CloseWrite()
		},
		"what it says on standard error, which only servers do": func(s *session) {
			s.tell("exec", "touch mark")
			_, _ = s.Stderr().Write([]byte(typed))
		},
	}
	for name, p := range policies() {
		t.Run("under "+name, func(t *testing.T) {
			sidecar := sshsidecar.Start(t, server, p)
			c := sidecar.Client(t)
			furnish(t)
			for name, attack := range attacks {
				t.Run(name, func(t *testing.T) {
					s := open(t, c)
					attack(s)
					s.Close()
					s.end()
					if got := execute(t, c, "echo alive", ""); got.stdout != "alive\n" {
						t.Errorf("the connection is of no use any more: %s", got)
					}
					if changed := untouched(); changed != "" {
						t.Errorf("%s; received %.300q %.300q", changed, s.out.String(), s.errs.String())
						furnish(t)
					}
				})
			}
		})
	}
}

func many(n int, f func()) {
	for range n {
		f()
	}
}

// TestVariables tries variables that make another command of the same words.
func TestVariables(t *testing.T) {
	needServer(t)
	sidecar := sshsidecar.Start(t, server, policies()["allow"])
	c, past := sidecar.Client(t), direct(t)
	const value = "chaperone-evasion"
	for name, v := range map[string]env{
		"a library that is loaded first":       {"LD_PRELOAD", "/home/" + value},
		"where libraries are":                  {"LD_LIBRARY_PATH", value},
		"an auditing library":                  {"LD_AUDIT", value},
		"the loader's tunables":                {"GLIBC_TUNABLES", value},
		"a file that bash reads":               {"BASH_ENV", value},
		"a file that sh reads":                 {"ENV", value},
		"the field separator":                  {"IFS", value},
		"the shell's options":                  {"SHELLOPTS", value},
		"bash's options":                       {"BASHOPTS", value},
		"a prompt that is expanded":            {"PS4", value},
		"what is done before a prompt":         {"PROMPT_COMMAND", value},
		"a function in bash's form":            {"BASH_FUNC_echo%%", "() { " + value + "; }"},
		"a function in bash's older form":      {"echo", "() { :;}; " + value},
		"where cd looks":                       {"CDPATH", value},
		"perl's options":                       {"PERL5OPT", value},
		"perl's modules":                       {"PERL5LIB", value},
		"python's modules":                     {"PYTHONPATH", value},
		"python's beginning":                   {"PYTHONSTARTUP", value},
		"node's options":                       {"NODE_OPTIONS", value},
		"ruby's options":                       {"RUBYOPT", value},
		"java's options":                       {"JAVA_TOOL_OPTIONS", value},
		"git's ssh":                            {"GIT_SSH_COMMAND", value},
		"git's editor":                         {"GIT_EDITOR", value},
		"git's settings":                       {"GIT_CONFIG_COUNT", value},
		"a pager":                              {"PAGER", value},
		"what less opens":                      {"LESSOPEN", value},
		"an editor":                            {"EDITOR", value},
		"conversions that are loaded":          {"GCONV_PATH", value},
		"locales that are loaded":              {"LOCPATH", value},
		"a temporary folder":                   {"TMPDIR", value},
		"a proxy":                              {"http_proxy", value},
		"a cluster's configuration":            {"KUBECONFIG", value},
		"a cloud's credentials":                {"AWS_SHARED_CREDENTIALS_FILE", value},
		"an agent's socket":                    {"SSH_AUTH_SOCK", value},
		"a display":                            {"DISPLAY", value},
		"a locale with a path":                 {"LC_ALL", "/tmp/" + value},
		"a locale with a command":              {"LC_ALL", "$(" + value + ")"},
		"a locale with a newline":              {"LC_ALL", "C\nLD_PRELOAD=" + value},
		"a locale whose name is another's":     {"LC_ALL=C\x00LD_PRELOAD", value},
		"a locale in small letters":            {"lc_all", value},
		"a locale's name with a space":         {"LC_ALL X", value},
		"a locale's name with an equals sign":  {"LC_A=B", value},
		"a value that is too long":             {"LC_LONG", strings.Repeat(value, 1000)},
		"the justification, which is no value": {"CHAPERONE_JUSTIFICATION", value},
	} {
		t.Run(name, func(t *testing.T) {
			set := func(s *ssh.Session) { _ = s.Setenv(v.Name, v.Value) }
			if got := execute(t, c, "printenv", "", set); strings.Contains(got.stdout, value) {
				t.Errorf("the server got it: %s", got)
			}
			if strings.ContainsAny(v.Name, "\x00= ") {
				return // no server can take it
			}
			if got := execute(t, past, "printenv", "", set); !strings.Contains(got.stdout, value) && !strings.HasPrefix(v.Name, "BASH") && v.Name != "IFS" && v.Name != "SHELLOPTS" {
				t.Errorf("past the sidecar the server does not get it either: %s", got)
			}
		})
	}
	t.Run("more of them than anybody has", func(t *testing.T) {
		s := open(t, c)
		granted := 0
		for range 500 {
			if s.ask("env", env{"LC_" + strings.Repeat("A", granted%100+1), "x"}) {
				granted++
			}
		}
		if granted == 0 || granted > 100 {
			t.Errorf("%d were granted", granted)
		}
	})
}
