package ssh_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/record"
	"github.com/chaperone-dev/chaperone/test/sshserver"
	"github.com/chaperone-dev/chaperone/test/sshsidecar"
)

// result is how a program ended.
type result struct {
	stdout, stderr string
	status         int
}

func run(t testing.TB, cmd *exec.Cmd, stdin string) result {
	t.Helper()
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if stdin != "" {
		cmd.Stdin = strings.NewReader(stdin)
	}
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return result{out.String(), errs.String(), cmd.ProcessState.ExitCode()}
}

func TestACommandRunsOnTheTarget(t *testing.T) {
	s := sshsidecar.Start(t, needServer(t), sshsidecar.SSH(server, allowAll))
	tests := map[string]struct {
		command, stdin string
		want           result
	}{
		"as the policy's user":                {"id -un", "", result{sshserver.User + "\n", "", 0}},
		"with its exit status":                {"exit 42", "", result{"", "", 42}},
		"with what it says on standard error": {"echo out; echo err >&2", "", result{"out\n", "err\n", 0}},
		"with its input and the end of it":    {"cat", "some input", result{"some input", "", 0}},
		"and ended by a signal":               {"kill -TERM $$", "", result{"", "", 255}},
		"with its words as they were":         {`printf '%s.' 'a b' '$HOME' "it's" \;`, "", result{"a b.$HOME.it's.;.", "", 0}},
		"in a pipe":                           {"echo one two | wc -w", "", result{"2\n", "", 0}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if got := run(t, s.Command("ssh", Host, tc.command), tc.stdin); got != tc.want {
				t.Errorf("got %+v, want %+v", got, tc.want)
			}
		})
	}
}

const Host = sshsidecar.Host

func TestADeniedCommandDoesNotRun(t *testing.T) {
	s := sshsidecar.Start(t, needServer(t), sshsidecar.SSH(server,
		policy.Rule{Name: "no-touch", Match: policy.Match{Programs: []string{"touch"}}, Action: policy.Deny, Message: "files are made by the pipeline"},
		allow("echo", "true")))
	canary := filepath.Join(server.HomeOf(sshserver.User), "denied")
	tests := map[string]struct {
		command string
		words   []string
	}{
		"by a rule":                      {"touch " + canary, []string{"files are made by the pipeline", `policy prod/ops (generation 3), rule "no-touch"`, "ask the policy's owner"}},
		"by the default":                 {"tee " + canary, []string{"tee is not allowed", `rule "default"`}},
		"behind one that is allowed":     {"echo a; touch " + canary, []string{"no-touch"}},
		"in a substitution":              {"echo $(touch " + canary + ")", []string{"denied"}},
		"whose words cannot be known":    {"$X " + canary, []string{"denied"}},
		"that is no shell program":       {"echo ) " + canary, []string{"denied", `rule "unrecognised"`}},
		"that is nothing":                {"# touch " + canary, []string{"it runs nothing"}},
		"by a redirection":               {"echo a > " + canary, []string{"denied"}},
		"a shell that reads its input":   {"sh", []string{"no-touch"}}, // it could be told to
		"a login shell without terminal": {"", []string{"no-touch"}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			cmd := s.Command("ssh", Host, tc.command)
			if tc.command == "" {
				cmd = s.Command("ssh", "-T", Host)
			}
			got := run(t, cmd, "touch "+canary+"\n")
			if got.status != 126 || got.stdout != "" {
				t.Errorf("got %+v", got)
			}
			for _, w := range tc.words {
				if !strings.Contains(got.stderr, w) {
					t.Errorf("%q does not say %q", got.stderr, w)
				}
			}
			if _, err := os.Stat(canary); err == nil {
				t.Fatal("it ran")
			}
		})
	}
	t.Run("and the connection lives on", func(t *testing.T) {
		c := s.Client(t)
		for i, want := range []string{"denied", "ok\n", "denied", "ok\n"} {
			session, err := c.NewSession()
			if err != nil {
				t.Fatal(err)
			}
			command := "echo ok"
			if i%2 == 0 {
				command = "touch " + canary
			}
			out, _ := session.CombinedOutput(command)
			if !strings.Contains(string(out), want) {
				t.Errorf("%d: %q", i, out)
			}
		}
	})
}

func TestACommandIsRecorded(t *testing.T) {
	target := sshsidecar.SSH(needServer(t), allow("echo", "cat"))
	target.Masking = []policy.Masking{{Detectors: []string{"Email"}}}
	s := sshsidecar.Start(t, server, target)
	if got := run(t, s.Command("ssh", Host, "cat"), "write to jane.doe@example.com\n"); got.stdout != "write to ********@***********\n" && strings.Contains(got.stdout, "jane") {
		t.Errorf("got %+v", got)
	}
	result := s.Log.Find(record.KindResult, nil)[0]
	if result.Tag != "exit status 0" || result.Bytes != 30 || result.Masked != 1 {
		t.Errorf("got %+v", result)
	}
	command := s.Log.Find(record.KindCommand, nil)[0]
	if command.Text != "cat" || command.Verdict != "Allow" || command.Rule != "allowed" || command.Policy != sshsidecar.Policy || command.Command != 1 || len(command.Digest) != 64 {
		t.Errorf("got %+v", command)
	}
	output := s.Log.Find(record.KindOutput, nil)[0]
	if strings.Contains(output.Data, "jane") || output.Stream != "stdout" || output.Command != 1 {
		t.Errorf("got %+v", output)
	}
	connect := s.Log.Find(record.KindConnect, nil)[0]
	if connect.User != sshserver.User || !strings.HasPrefix(connect.Client, "SSH-2.0-OpenSSH") || connect.Peer != "192.0.2.7:22" {
		t.Errorf("got %+v", connect)
	}
	s.Log.Find(record.KindDisconnect, nil)
}

func TestAPatternOfThePolicyIsMasked(t *testing.T) {
	target := sshsidecar.SSH(needServer(t), allow("echo", "cat"))
	target.Masking = []policy.Masking{{Pattern: `EMP-[0-9]{6}`}, {Detectors: []string{"Email"}}}
	// Over the ends of what is read at once: whatever a piece is, some numbers lie across it.
	var sent strings.Builder
	for i := range 20000 {
		fmt.Fprintf(&sent, "EMP-%06d of jane@example.com\n", i)
	}
	// A number whose second half comes later than it may be held back is shown, and on a busy machine some do: one run
	// in which none did is enough.
	for until := time.Now().Add(2 * time.Minute); ; {
		s := sshsidecar.Start(t, server, target)
		got := run(t, s.Command("ssh", Host, "cat"), sent.String())
		shown := strings.Contains(got.stdout, "EMP-") || strings.Contains(got.stdout, "jane")
		if len(got.stdout) != sent.Len() || strings.Count(got.stdout, " of ") != 20000 || shown && time.Now().After(until) {
			t.Fatalf("%d bytes of %d, beginning %.200q", len(got.stdout), sent.Len(), got.stdout)
		}
		if shown {
			continue
		}
		if got := run(t, s.Command("ssh", Host, "echo", "EMP-123456", "EMP-12345"), ""); got.stdout != "********** EMP-12345\n" {
			t.Errorf("got %+v", got)
		}
		for _, e := range s.Log.Events() {
			if strings.Contains(e.Text+e.Data+e.Error, "EMP-123456") || strings.Contains(e.Data, "EMP-0") {
				t.Errorf("recorded %+v", e)
			}
		}
		return
	}
}

func TestTheStatusSurvivesAnEarlyEndOfTheOutput(t *testing.T) {
	s := sshsidecar.Start(t, needServer(t), sshsidecar.SSH(server, allowAll))
	control := filepath.Join(t.TempDir(), "c")
	master := s.Command("ssh", "-M", "-S", control, "-N", "-f", Host)
	if got := run(t, master, ""); got.status != 0 {
		t.Fatalf("got %+v", got)
	}
	t.Cleanup(func() { _ = s.Command("ssh", "-S", control, "-O", "exit", Host).Run() })
	const command = "exec sh -c 'exec >/dev/null 2>&1; sleep 1; exit 44'"
	if got := run(t, s.Command("ssh", "-n", "-S", control, Host, command), ""); got.status != 44 {
		t.Errorf("over a shared connection: got %+v", got)
	}
	if got := run(t, s.Command("ssh", "-n", Host, command), ""); got.status != 44 {
		t.Errorf("over one of its own: got %+v", got)
	}
}
