package ssh_test

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
	_ "github.com/chaperone-dev/chaperone/sidecar/policy/cel" // what conditions are compiled with
	"github.com/chaperone-dev/chaperone/test/sshsidecar"
)

func denying(name, when string) policy.Rule {
	return policy.Rule{Name: name, Action: policy.Deny, When: when, Message: "by its condition"}
}

func TestAConditionDecidesOverCommands(t *testing.T) {
	dir := area(t, nil)
	s := sshsidecar.Start(t, server, sshsidecar.SSH(server,
		denying("kept", `command.kind == "exec" && command.program == "touch" && command.arguments.exists(a, a.endsWith("/kept"))`), allow("*")))
	for name, denied := range map[string]bool{"kept": true, "free": false} {
		file := filepath.Join(dir, name)
		got := run(t, s.Command("ssh", Host, "true; touch "+file), "")
		_, err := os.Stat(file)
		if denied != (got.status == 126) || denied != os.IsNotExist(err) || denied != strings.Contains(got.stderr, "by its condition") {
			t.Errorf("%s: got %+v, the file: %v", name, got, err)
		}
	}
}

func TestAConditionDecidesOverForwardings(t *testing.T) {
	kept, free := speaker(t, "kept"), speaker(t, "free")
	s := sshsidecar.Start(t, needServer(t), sshsidecar.SSH(server,
		denying("kept", `command.kind == "forward" && command.forwarding == "Local" && command.address == "`+kept+`"`), forwarding("Local")))
	c := s.Client(t)
	if _, err := c.Dial("tcp", kept); err == nil || !strings.Contains(err.Error(), "by its condition") {
		t.Errorf("got %v", err)
	}
	conn, err := c.Dial("tcp", free)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if text, err := io.ReadAll(conn); err != nil || string(text) != "free" {
		t.Errorf("%q, %v", text, err)
	}
	// OpenSSH's own way there.
	if got := run(t, s.Command("ssh", "-W", kept, Host), ""); got.status == 0 || got.stdout != "" {
		t.Errorf("got %+v", got)
	}
	if got := run(t, s.Command("ssh", "-W", free, Host), ""); got.stdout != "free" {
		t.Errorf("got %+v", got)
	}
}

func TestAConditionDecidesOverFiles(t *testing.T) {
	dir := area(t, map[string]string{"kept": "kept", "free": "free"})
	s := sshsidecar.Start(t, server, sshsidecar.SSH(server, denying("kept", `command.kind == "file" && command.path.endsWith("/kept")`),
		policy.Rule{Name: "files", Match: policy.Match{Paths: []string{dir + "/**", dir}}, Action: policy.Allow}))
	for name, denied := range map[string]bool{"kept": true, "free": false} {
		to := filepath.Join(t.TempDir(), name)
		got := run(t, s.Command("scp", Host+":"+filepath.Join(dir, name), to), "")
		text, _ := os.ReadFile(to)
		if denied != (got.status != 0) || denied && len(text) != 0 || !denied && string(text) != name {
			t.Errorf("%s: got %+v, %q", name, got, text)
		}
	}
}
