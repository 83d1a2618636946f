package ssh

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/test/sshserver"
	"github.com/chaperone-dev/chaperone/test/sshsidecar"
)

// secrets are a file of the server's, whose values no agent may see.
const secrets = "card 4111111111111111 mail jane.doe@example.com\nagain 5500-0055-5555-5559 end\n"

// leaks are what tells of them; digits alone, whatever is between them.
var leaks = []string{"4111111111111111", "5500005555555559", "jane.doe@example.com", "jane.doe"}

func leaked(text string) string {
	digits := strings.NewReplacer("-", "", " ", "", "\r", "", "\n", "").Replace(text)
	for _, l := range leaks {
		if strings.Contains(text, l) || strings.Contains(digits, l) {
			return l
		}
	}
	return ""
}

// TestMasking tries to see protected values by ways that are allowed.
func TestMasking(t *testing.T) {
	needServer(t)
	p := sshsidecar.SSH(server, policy.Rule{Name: "shows", Action: policy.Allow, Match: policy.Match{
		Programs: []string{"cat", "printf", "echo", "head", "tail", "sort", "grep", "dd", "nl"},
	}}, policy.Rule{Name: "whatever-is-said", Action: policy.Allow, Match: policy.Match{
		Programs: []string{"printf"}, Unresolved: yes(),
	}}, policy.Rule{Name: "terminals", Action: policy.Allow, Match: policy.Match{PTY: yes()}})
	p.Masking = []policy.Masking{{Detectors: []string{"CreditCard", "Email"}}}
	s := sshsidecar.Start(t, server, p)
	c, past := s.Client(t), direct(t)
	furnish(t)
	home := server.HomeOf(sshserver.User)
	fill := func(name string, size int) {
		if err := os.WriteFile(filepath.Join(home, name), []byte(strings.Repeat(".", size-1)+" "), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	// Values that lie across the ends of what is read at once (32 KiB).
	fill("a", 32<<10-12)
	fill("b", 32<<10-6)
	fill("c", 64<<10-40)
	fill("d", 1<<20-9)
	onTerminal := func(s *ssh.Session) { _ = s.RequestPty("xterm", 24, 40, ssh.TerminalModes{}) }
	for name, tc := range map[string]struct {
		command, stdin string
		before         func(*ssh.Session)
	}{
		"plainly":                                   {"cat secrets", "", nil},
		"on standard error":                         {"cat secrets >&2", "", nil},
		"on both":                                   {"cat secrets; cat secrets >&2", "", nil},
		"twice":                                     {"cat secrets secrets", "", nil},
		"with its lines in another order":           {"sort -r secrets", "", nil},
		"with numbers in front":                     {"nl secrets", "", nil},
		"by lines that hold something":              {"grep -o '[0-9-]*' secrets", "", nil},
		"from the middle":                           {"tail -c 77 secrets", "", nil},
		"to the middle":                             {"head -c 48 secrets", "", nil},
		"in pieces of one byte":                     {"dd if=secrets bs=1 status=none", "", nil},
		"in pieces of seven bytes":                  {"dd if=secrets bs=7 status=none", "", nil},
		"across the end of a chunk":                 {"cat a secrets", "", nil},
		"across the end of a chunk, differently":    {"cat b secrets", "", nil},
		"across the end of two chunks":              {"cat c secrets", "", nil},
		"across the end of a megabyte":              {"cat d secrets", "", nil},
		"across the end of a chunk, on the other":   {"cat a secrets >&2", "", nil},
		"behind letters that touch it":              {"printf 'x%s\\n' \"$(cat secrets)\"", "", nil},
		"behind a NUL":                              {"printf '\\0%s\\0' \"$(cat secrets)\"", "", nil},
		"behind an invalid byte":                    {"printf '\\377%s\\377' \"$(cat secrets)\"", "", nil},
		"behind the beginning of a character":       {"printf '\\303%s' \"$(cat secrets)\"", "", nil},
		"behind a colour":                           {"printf '\\033[31m%s\\033[0m' \"$(cat secrets)\"", "", nil},
		"without a newline at the end":              {"head -c 21 secrets", "", nil},
		"on a terminal":                             {"cat secrets", "", onTerminal},
		"on a terminal that is narrow":              {"cat a secrets", "", onTerminal},
		"on a terminal, on standard error":          {"cat secrets >&2", "", onTerminal},
		"as what it said itself, sent back":         {"cat", secrets, nil},
		"as what it said itself, a terminal's echo": {"head -n 2", secrets, onTerminal},
	} {
		t.Run(name, func(t *testing.T) {
			var before []func(*ssh.Session)
			if tc.before != nil {
				before = append(before, tc.before)
			}
			if got := execute(t, past, tc.command, tc.stdin, before...); leaked(got.stdout+got.stderr) == "" {
				t.Errorf("past the sidecar it does not show either: %s", got)
			}
			got := execute(t, c, tc.command, tc.stdin, before...)
			if l := leaked(got.stdout); l != "" {
				t.Errorf("received %q on standard output", l)
			}
			if l := leaked(got.stderr); l != "" {
				t.Errorf("received %q on standard error", l)
			}
			if got.stdout+got.stderr == "" || got.status != 0 {
				t.Errorf("nothing came: %s", got)
			}
		})
	}
	t.Run("in recordings, of what ran and of what was denied", func(t *testing.T) {
		execute(t, c, "echo 4111111111111111 jane.doe@example.com", "")
		if got := execute(t, c, "touch 4111111111111111 jane.doe@example.com", ""); got.status != 126 {
			t.Errorf("not denied: %s", got)
		}
		logs := append(s.Terminals(), s.Log)
		for _, log := range logs {
			events := log.Events()
			for _, e := range events {
				if l := leaked(e.Text); l != "" {
					t.Errorf("recorded %q as a text: %.200q", l, e.Text)
				}
				if l := leaked(e.Data + e.Message + e.Error); l != "" {
					t.Errorf("recorded %q: %.200q", l, e.Data+e.Message+e.Error)
				}
			}
		}
		if len(logs) < 4 {
			t.Errorf("there are %d recordings", len(logs))
		}
	})
}
