package ssh_test

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/record"
	"github.com/chaperone-dev/chaperone/test/sshserver"
	"github.com/chaperone-dev/chaperone/test/sshsidecar"
)

// changed is what an agent reads of what a changed policy ends.
const changed = "the policies of this pod changed and no longer allow this"

var noSleep = policy.Rule{Name: "no-sleep", Match: policy.Match{Programs: []string{"sleep"}}, Action: policy.Deny, Message: "nobody sleeps here"}

// sleeping is a command that only its end ends: it has begun once it says so, and can be seen in the list of processes by
// the length of its sleep.
func sleeping(seconds string) string { return "echo begun >&2; sleep " + seconds }

// runs tells whether a process with that argument is there.
func runs(argument string) bool {
	all, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, p := range all {
		if b, err := os.ReadFile(p); err == nil && strings.Contains(string(b), "sleep\x00"+argument) {
			return true
		}
	}
	return false
}

// eventually waits for what is to come in any case.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal(what + ": not within a minute")
		}
	}
}

func recordedEnd(t *testing.T, s *sshsidecar.Sidecar, says string) {
	t.Helper()
	if got := s.Log.Find(record.KindResult, func(e record.Event) bool { return strings.Contains(e.Error, says) }); len(got) != 1 {
		t.Errorf("recorded %+v", s.Log.Events())
	}
}

func TestAChangedPolicyEndsARunningCommand(t *testing.T) {
	for name, c := range map[string]struct {
		change  func(*sshsidecar.Sidecar)
		seconds string
		says    string
	}{
		"that a rule denies now": {func(s *sshsidecar.Sidecar) { s.Rules(sshsidecar.SSH(server, noSleep, allow("*"))) }, "98701",
			changed + `: nobody sleeps here (policy prod/ops (generation 3), rule "no-sleep")`},
		"that nothing allows any more": {func(s *sshsidecar.Sidecar) { s.Rules(sshsidecar.SSH(server)) }, "98702", `rule "default")`},
		"whose target is gone":         {(*sshsidecar.Sidecar).Withdraw, "98703", changed + ": no policy has a target for this host"},
		"whose user is another": {func(s *sshsidecar.Sidecar) {
			target := sshsidecar.SSH(server, allow("*"))
			target.User = "somebody"
			s.Rules(target)
		}, "98704", changed + fmt.Sprintf(": user %q of target bastion", sshserver.User)},
	} {
		t.Run(name, func(t *testing.T) {
			s := sshsidecar.Start(t, needServer(t), sshsidecar.SSH(server, allow("*")))
			running := start(t, s.Client(t), sleeping(c.seconds))
			running.stderr.until(t, "begun")
			eventually(t, "what runs", func() bool { return runs(c.seconds) })
			c.change(s)
			running.stderr.until(t, c.says)
			if err := <-running.done; !isStatus(err, 126) {
				t.Errorf("got %v", err)
			}
			recordedEnd(t, s, c.says)
			eventually(t, "the end of what ran", func() bool { return !runs(c.seconds) })
		})
	}
}

func TestAChangedPolicyIsReadByWhoUsesOpenSSH(t *testing.T) {
	s := sshsidecar.Start(t, needServer(t), sshsidecar.SSH(server, allow("*")))
	done := make(chan result, 1)
	go func() { done <- run(t, s.Command("ssh", Host, "echo begun; sleep 98711"), "") }()
	s.Log.Find(record.KindOutput, nil)
	s.Rules(sshsidecar.SSH(server, noSleep, allow("*")))
	if got := <-done; got.status != 126 || got.stdout != "begun\n" || !strings.Contains(got.stderr, changed) || !strings.Contains(got.stderr, `rule "no-sleep"`) {
		t.Errorf("got %+v", got)
	}
}

func TestWhatTakesNoNoticeOfASignalIsEndedToo(t *testing.T) {
	s := sshsidecar.Start(t, needServer(t), sshsidecar.SSH(server, allow("*")))
	c := s.Client(t)
	running := start(t, c, "trap '' TERM HUP; echo begun >&2; sleep 98721; sleep 98721")
	running.stderr.until(t, "begun")
	eventually(t, "what runs", func() bool { return runs("98721") })
	s.Rules(sshsidecar.SSH(server))
	if err := <-running.done; !isStatus(err, 126) {
		t.Errorf("got %v", err)
	}
	c.Close() // which comes before SIGKILL
	eventually(t, "the end of what ran", func() bool { return !runs("98721") })
}

func TestAnAgentThatDoesNotReadIsEndedToo(t *testing.T) {
	s := sshsidecar.Start(t, needServer(t), sshsidecar.SSH(server, allow("*")))
	session, requests, err := s.Client(t).OpenChannel("session", nil)
	if err != nil {
		t.Fatal(err)
	}
	go ssh.DiscardRequests(requests)
	if ok, err := session.SendRequest("exec", true, ssh.Marshal(struct{ Command string }{"yes 98731; sleep 98731"})); err != nil || !ok {
		t.Fatal(err, ok)
	}
	var before, written string
	eventually(t, "the command to be stuck", func() bool {
		time.Sleep(200 * time.Millisecond)
		before, written = written, writtenBy("yes\x0098731\x00")
		return written != "" && written == before
	})
	s.Rules(sshsidecar.SSH(server))
	eventually(t, "the end of what ran", func() bool { return !runs("98731") && writtenBy("yes\x0098731\x00") == "" })
}

// writtenBy is how much a process has written (proc_pid_io(5)), empty where there is none.
func writtenBy(command string) string {
	all, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, p := range all {
		if b, err := os.ReadFile(p); err == nil && string(b) == command {
			io, _ := os.ReadFile(filepath.Join(filepath.Dir(p), "io"))
			return string(io)
		}
	}
	return ""
}

func TestAChangedPolicyLeavesWhatItAllows(t *testing.T) {
	for name, change := range map[string]func(*sshsidecar.Sidecar){
		"a rule about something else": func(s *sshsidecar.Sidecar) {
			s.Rules(sshsidecar.SSH(server, policy.Rule{Name: "no-rm", Match: policy.Match{Programs: []string{"rm"}}, Action: policy.Deny}, allow("*")))
		},
		"people would be asked now": func(s *sshsidecar.Sidecar) {
			s.Rules(sshsidecar.SSH(server, approvals(900, "cat"), allow("*")))
		},
		"it would be denied, in Audit": func(s *sshsidecar.Sidecar) {
			s.Rules(sshsidecar.SSH(server), func(p *policy.Policy) { p.Enforcement = policy.Audit })
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := sshsidecar.Start(t, needServer(t), sshsidecar.SSH(server, allow("*")))
			session, err := s.Client(t).NewSession()
			if err != nil {
				t.Fatal(err)
			}
			in, err := session.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			out, err := session.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := session.Start("cat"); err != nil {
				t.Fatal(err)
			}
			shown := &lines{r: out}
			fmt.Fprintln(in, "before")
			shown.until(t, "before")
			change(s)
			// Another that is let through by the new rules: they are in force.
			if got := run(t, s.Command("ssh", Host, "echo on"), ""); name != "it would be denied, in Audit" && got.stdout != "on\n" {
				t.Errorf("got %+v", got)
			}
			fmt.Fprintln(in, "behind")
			shown.until(t, "behind")
			in.Close()
			if err := session.Wait(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestAChangedPolicyEndsATerminalAndItsRecording(t *testing.T) {
	s := sshsidecar.Start(t, needServer(t), sshsidecar.SSH(server, allowShell))
	session, in, shown := terminal(t, s.Client(t))
	if _, err := io.WriteString(in, "echo be''gun; sleep 98741\n"); err != nil {
		t.Fatal(err)
	}
	shown.until(t, "begun")
	eventually(t, "what runs", func() bool { return runs("98741") })
	s.Rules(sshsidecar.SSH(server, allow("*")))
	if err := session.Wait(); !isStatus(err, 126) {
		t.Errorf("got %v", err)
	}
	if end := s.Terminals()[0].Find(record.KindDisconnect, nil); len(end) != 1 || !strings.Contains(end[0].Error, changed) {
		t.Errorf("recorded %+v", end)
	}
	recordedEnd(t, s, changed)
	eventually(t, "the end of what ran", func() bool { return !runs("98741") })
}

func TestAChangedPolicyEndsACommandOfAScript(t *testing.T) {
	needServer(t)
	sleepy := policy.Rule{Name: "sleepy", Match: policy.Match{Programs: []string{"sleep"}}, Action: policy.Allow}
	s := sshsidecar.Start(t, server, interpreted(sleepy))
	done := make(chan result, 1)
	go func() { done <- run(t, s.Command("ssh", Host, "X=98761; sleep $X; echo then $?"), "") }()
	eventually(t, "what runs", func() bool { return runs("98761") })
	s.Rules(interpreted(noSleep))
	if got := <-done; got.status != 0 || got.stdout != "then 126\n" || !strings.Contains(got.stderr, changed+": nobody sleeps here") {
		t.Errorf("got %+v", got)
	}
	recordedEnd(t, s, changed)
	eventually(t, "the end of what ran", func() bool { return !runs("98761") })
}

func TestACommandOfAScriptThatTakesNoNoticeIsEndedToo(t *testing.T) {
	needServer(t)
	deaf := policy.Rule{Name: "deaf", Match: policy.Match{Programs: []string{"sleep", "trap", "sh"}}, Action: policy.Allow}
	s := sshsidecar.Start(t, server, interpreted(deaf))
	done := make(chan result, 1)
	script := `X=98762; sh -c "trap '' TERM PIPE HUP; sleep $X; sleep $X"; echo then $?`
	go func() { done <- run(t, s.Command("ssh", Host, script), "") }()
	eventually(t, "what runs", func() bool { return runs("98762") })
	s.Rules(interpreted(noSleep))
	if got := <-done; got.status != 0 || got.stdout != "then 126\n" || !strings.Contains(got.stderr, changed) {
		t.Errorf("got %+v", got)
	}
	eventually(t, "the end of what ran", func() bool { return !runs("98762") })
}

func TestTheTimeOfAccessEndsWhatRuns(t *testing.T) {
	s := sshsidecar.Start(t, needServer(t), sshsidecar.SSH(server, allow("*")), func(p *policy.Policy) {
		p.Targets[0].Access = &policy.Access{MaxDurationSeconds: 8}
	})
	running := start(t, s.Client(t), sleeping("98751"))
	eventually(t, "what runs", func() bool { return runs("98751") })
	running.stderr.until(t, "the time that access was granted for is over")
	if err := <-running.done; !isStatus(err, 255) {
		t.Errorf("got %v", err)
	}
	eventually(t, "the end of what ran", func() bool { return !runs("98751") })
}

// echoes is a server behind the target that sends back what it gets.
func echoes(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.Copy(c, c)
			}()
		}
	}()
	return l.Addr().String()
}

// lives sends something through a connection and reads it back.
func lives(t *testing.T, c io.ReadWriter) {
	t.Helper()
	if _, err := io.WriteString(c, "ping\n"); err != nil {
		t.Fatal(err)
	}
	(&lines{r: c}).until(t, "ping\n")
}

func TestAChangedPolicyEndsForwardedConnections(t *testing.T) {
	needServer(t)
	t.Run("that the agent opened", func(t *testing.T) {
		s := sshsidecar.Start(t, server, sshsidecar.SSH(server, forwarding("Local")))
		conn, err := s.Client(t).Dial("tcp", echoes(t))
		if err != nil {
			t.Fatal(err)
		}
		lives(t, conn)
		s.Rules(sshsidecar.SSH(server, forwarding("Remote"), allow("echo")))
		if rest, err := io.ReadAll(conn); err != nil || len(rest) != 0 {
			t.Errorf("%q, %v", rest, err)
		}
		recordedEnd(t, s, changed+": Local forwarding")
	})
	t.Run("that the target opened, and what it listens at", func(t *testing.T) {
		s := sshsidecar.Start(t, server, sshsidecar.SSH(server, forwarding("Remote")))
		l, err := s.Client(t).Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		near := make(chan net.Conn, 1)
		go func() {
			if c, err := l.Accept(); err == nil {
				near <- c
			}
		}()
		far, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer far.Close()
		agent := <-near
		go func() { _, _ = io.Copy(far, far) }()
		lives(t, agent)
		s.Rules(sshsidecar.SSH(server, forwarding("Local")))
		if rest, err := io.ReadAll(agent); err != nil || len(rest) != 0 {
			t.Errorf("%q, %v", rest, err)
		}
		recordedEnd(t, s, changed+": Remote forwarding")
		eventually(t, "the end of the listener", func() bool {
			c, err := net.Dial("tcp", l.Addr().String())
			if err == nil {
				c.Close()
			}
			return err != nil
		})
	})
	t.Run("to an authentication agent", func(t *testing.T) {
		s := sshsidecar.Start(t, server, sshsidecar.SSH(server, forwarding("Agent"), allow("*")))
		c := s.Client(t)
		if err := agent.ForwardToAgent(c, agent.NewKeyring()); err != nil {
			t.Fatal(err)
		}
		session, err := c.NewSession()
		if err != nil {
			t.Fatal(err)
		}
		if err := agent.RequestAgentForwarding(session); err != nil {
			t.Fatal(err)
		}
		in, err := session.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		out, err := session.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := session.Start("ssh-add -l; echo first; cat; ssh-add -l; echo then"); err != nil {
			t.Fatal(err)
		}
		shown := &lines{r: out}
		shown.until(t, "first\n")
		s.Rules(sshsidecar.SSH(server, forwarding("Local"), allow("*")))
		in.Close()
		shown.until(t, "then\n")
		if all := shown.b.String(); strings.Count(all, "no identities") != 1 || !strings.HasPrefix(all, "The agent has no identities.\nfirst\n") {
			t.Errorf("got %q", all)
		}
	})
}

func TestAChangedPolicyEndsAFileTransfer(t *testing.T) {
	dir := area(t, map[string]string{"open/a": "aaaa", "open/b": "bbbb"})
	all := func() policy.SSH {
		return sshsidecar.SSH(server, files("all", policy.Allow, nil, dir+"/**"))
	}
	t.Run("of a file that is denied now, while others go on", func(t *testing.T) {
		s := sshsidecar.Start(t, server, all())
		c, _ := openFiles(t, s.Client(t))
		a, b := c.open(t, dir+"/open/a"), c.open(t, dir+"/open/b")
		if got := c.read(t, a); got != "aaaa" {
			t.Fatalf("read %q", got)
		}
		s.Rules(sshsidecar.SSH(server, files("not-a", policy.Deny, nil, dir+"/open/a"), files("all", policy.Allow, nil, dir+"/**")))
		if got := c.read(t, a); !strings.Contains(got, changed) || !strings.Contains(got, `rule "not-a"`) {
			t.Errorf("read %q", got)
		}
		if got := c.read(t, b); got != "bbbb" {
			t.Errorf("read %q", got)
		}
		c.close(t, a)
		recordedEnd(t, s, `rule "not-a"`)
	})
	t.Run("whole, where nothing of it is allowed", func(t *testing.T) {
		s := sshsidecar.Start(t, server, all())
		c, said := openFiles(t, s.Client(t))
		a := c.open(t, dir+"/open/a")
		s.Rules(sshsidecar.SSH(server, allow("*")))
		said.until(t, changed)
		if _, err := c.ask(5, a, uint64(0), uint32(16)); err == nil {
			t.Error("it goes on")
		}
		recordedEnd(t, s, changed+": subsystem sftp")
	})
}
