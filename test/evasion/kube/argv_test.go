package kube

import (
	"strings"
	"testing"
)

// commands are argvs that a list of few programs has to keep out, or a rule that forbids rm.
func commands(word string) map[string][]string {
	return map[string][]string{
		"a path":                        {"/bin/rm", "-f", word},
		"a relative path":               {"../../../../../bin/rm", "-f", word},
		"a doubled slash":               {"//bin//rm", "-f", word},
		"a shell":                       {"sh", "-c", "rm -f " + word},
		"a shell with options":          {"sh", "-ec", "rm -f " + word},
		"a shell in a shell":            {"sh", "-c", "sh -c 'rm -f " + word + "'"},
		"behind a command that may run": {"sh", "-c", "echo x; rm -f " + word},
		"in a pipe":                     {"sh", "-c", "echo x | rm -f " + word},
		"in a substitution":             {"sh", "-c", "echo $(rm -f " + word + ")"},
		"in backticks":                  {"sh", "-c", "echo `rm -f " + word + "`"},
		"behind a newline":              {"sh", "-c", "echo x\nrm -f " + word},
		"quoted in parts":               {"sh", "-c", `r""m -f ` + word},
		"with a backslash":              {"sh", "-c", `r\m -f ` + word},
		"a variable":                    {"sh", "-c", "X=rm; $X -f " + word},
		"a function of a good name":     {"sh", "-c", "echo() { rm -f " + word + "; }; echo"},
		"eval":                          {"sh", "-c", "eval rm -f " + word},
		"decoded":                       {"sh", "-c", "echo cm0gLWYgeAo= | base64 -d | sh #" + word},
		"a here-document to a shell":    {"sh", "-c", "sh <<E\nrm -f " + word + "\nE"},
		"a trap":                        {"sh", "-c", "trap 'rm -f " + word + "' EXIT"},
		"in the background":             {"sh", "-c", "rm -f " + word + " & wait"},
		"arguments as the text's own":   {"sh", "-c", `"$@"`, "x", "rm", "-f", word},
		"env":                           {"env", "rm", "-f", word},
		"env -S":                        {"env", "-S", "rm -f " + word},
		"env with a variable":           {"env", "A=b", "rm", "-f", word},
		"nice":                          {"nice", "-n", "5", "rm", "-f", word},
		"timeout":                       {"timeout", "5", "rm", "-f", word},
		"nohup":                         {"nohup", "rm", "-f", word},
		"setsid":                        {"setsid", "rm", "-f", word},
		"xargs":                         {"xargs", "rm", "-f", word},
		"find":                          {"find", ".", "-maxdepth", "0", "-exec", "rm", "-f", word, ";"},
		"the dynamic linker":            {"/lib64/ld-linux-x86-64.so.2", "/bin/rm", "-f", word},
		"perl":                          {"perl", "-e", "unlink '" + word + "'"},
		"awk":                           {"awk", "BEGIN { system(\"rm -f " + word + "\") }"},
		"a variable for the linker":     {"env", "LD_PRELOAD=/tmp/x.so", "echo", word},
		"a PATH of its own":             {"env", "PATH=/tmp", "echo", word},
		"an output file":                {"sh", "-c", "echo x > " + word},
		"a program that nobody named":   {"touch", word},
	}
}

func TestCommandsThatRulesForbid(t *testing.T) {
	s := front(t, only())
	for _, protocol := range []string{"v5.channel.k8s.io", ""} {
		over := map[string]string{"": "SPDY"}[protocol]
		for name := range commands("") {
			t.Run(strings.TrimSpace(name+" "+over), func(t *testing.T) {
				word := mark()
				c := dial(t, s.Address(), s.CAPEM())
				target := execPath("", commands(word)[name]...)
				if protocol == "" {
					c.send(t, spdyRequest("v4.channel.k8s.io", target))
				} else {
					c.send(t, socketRequest(protocol, target))
				}
				if code, body := c.answer(); code != 403 || !strings.Contains(body, "refused by Chaperone") || !strings.Contains(body, "agents/ops") {
					t.Errorf("answered with %d: %s", code, body)
				}
				if ran(word) {
					t.Error("the container was told to run it")
				}
			})
		}
	}
	livesOn(t, s)
}

// TestTheCommandsDoRunPastTheSidecar keeps the cases honest.
func TestTheCommandsDoRunPastTheSidecar(t *testing.T) {
	for name := range commands("") {
		word := mark()
		c := dial(t, server.Address, server.CAPEM())
		c.send(t, strings.Replace(socketRequest("v4.channel.k8s.io", execPath("", commands(word)[name]...)), "Host: x\r\n", "Host: x\r\nAuthorization: Bearer "+token+"\r\n", 1))
		if code, body := c.answer(); code != 101 {
			t.Fatalf("%s: %d %s", name, code, body)
		}
		c.all()
		if !ran(word) {
			t.Errorf("%s proves nothing", name)
		}
	}
}

func TestShellsThatReadStandardInput(t *testing.T) {
	s := front(t, open())
	shells := map[string][]string{
		"sh": {"sh"}, "sh -i": {"sh", "-i"}, "sh -s": {"sh", "-s"}, "sh -": {"sh", "-"}, "a path": {"/bin/sh"}, "bash": {"bash"}, "dash -x": {"dash", "-x"},
		"env sh": {"env", "sh"}, "env -i sh": {"env", "-i", "sh"}, "nice sh": {"nice", "sh"}, "timeout sh": {"timeout", "9", "sh"}, "exec sh": {"sh", "-c", "exec sh"},
		"sh -c sh": {"sh", "-c", "sh"}, "python3": {"python3"}, "python3 -": {"python3", "-"}, "perl": {"perl"}, "perl -": {"perl", "-"},
		"the standard input's file": {"sh", "/dev/stdin"}, "its descriptor's": {"sh", "/proc/self/fd/0"}, "xargs sh": {"xargs", "sh", "-c"}, "a dot": {"sh", "-c", ". /dev/stdin"},
		"su": {"su"}, "busybox sh": {"busybox", "sh"}, "vi": {"vi"}, "psql": {"psql"},
	}
	for name, argv := range shells {
		for how, options := range map[string]string{"": "&stdin=true", " on a terminal": "&stdin=true&tty=true", " by a number": "&stdin=1"} {
			t.Run(name+how, func(t *testing.T) {
				before := len(kubelet.Runs())
				c := dial(t, s.Address(), s.CAPEM())
				c.send(t, socketRequest("v4.channel.k8s.io", execPath(options, argv...)))
				if code, body := c.answer(); code != 403 || !strings.Contains(body, "refused by Chaperone") {
					t.Errorf("answered with %d: %s", code, body)
				}
				if len(kubelet.Runs()) != before {
					t.Error("the container was told to run it")
				}
			})
		}
	}
	t.Run("attach", func(t *testing.T) {
		before := len(kubelet.Runs())
		c := dial(t, s.Address(), s.CAPEM())
		c.send(t, socketRequest("v4.channel.k8s.io", "/api/v1/namespaces/shop/pods/solo/attach?stdin=true&stdout=true"))
		if code, _ := c.answer(); code != 403 || len(kubelet.Runs()) != before {
			t.Errorf("answered with %d", code)
		}
	})
	livesOn(t, s)
}
