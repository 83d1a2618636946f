package ssh_test

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/record"
	"github.com/chaperone-dev/chaperone/test/sshserver"
	"github.com/chaperone-dev/chaperone/test/sshsidecar"
)

// interpreted is a target whose scripts are interpreted.
func interpreted(rules ...policy.Rule) policy.SSH {
	target := sshsidecar.SSH(server, rules...)
	target.Interpret = true
	return target
}

// tools are programs that a script may use in these tests.
var tools = allow("printf", "cat", "rev", "wc", "head", "yes", "ls", "seq", "sort", "grep", "env", "id", "expr", "printenv", "sleep", "pwd", "test")

var moves = policy.Rule{Name: "moves", Match: policy.Match{Programs: []string{"cd"}}, Action: policy.Allow}

func TestAScriptIsInterpreted(t *testing.T) {
	needServer(t)
	folder := filepath.Join(server.HomeOf(sshserver.User), "folder")
	if err := os.Mkdir(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	if err := os.WriteFile(filepath.Join(folder, "file"), []byte("file\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	computed := policy.Rule{Name: "computed", Match: policy.Match{Programs: []string{"printenv"}, Unresolved: yes()}, Action: policy.Allow}
	s := sshsidecar.Start(t, server, interpreted(computed, moves, tools))
	tests := map[string]struct {
		command, stdin string
		want           result
	}{
		"a variable is the program":          {"X=id; $X -un", "", result{sshserver.User + "\n", "", 0}},
		"a loop over words":                  {"for i in 1 2 3; do printf '%s,' $i; done", "", result{"1,2,3,", "", 0}},
		"a loop over what a command prints":  {"for i in $(seq 3); do expr $i + 1; done", "", result{"2\n3\n4\n", "", 0}},
		"a pipe of it":                       {"X=cat; $X | rev | cat", "abc\n", result{"cba\n", "", 0}},
		"a reader that leaves early":         {"X=yes; $X | head -n 2", "", result{"y\ny\n", "", 0}},
		"a here-document":                    {"x=1; cat <<E\n<$x>\nE", "", result{"<1>\n", "", 0}},
		"a condition on what a command says": {"if [ \"$(id -un)\" = " + sshserver.User + " ]; then echo yes; fi", "", result{"yes\n", "", 0}},
		"its exit status":                    {"X=3; exit $X", "", result{"", "", 3}},
		"that of its last command":           {"X=/nowhere; ls $X 2>/dev/null", "", result{"", "", 2}},
		"set -e":                             {"set -e; X=/nowhere; ls $X 2>/dev/null; echo no", "", result{"", "", 2}},
		"standard error apart":               {"X=/nowhere; cat $X; echo on", "", result{"on\n", "cat: /nowhere: No such file or directory\n", 0}},
		"standard error joined":              {"X=/nowhere; cat $X 2>&1 | wc -l", "", result{"1\n", "", 0}},
		"lines that it reads itself":         {"while read -r a b; do printf '%s.' \"$b\"; done", "1 2\n3 4\n", result{"2.4.", "", 0}},
		"words with quotes, as they are":     {`x="it's \$HOME"; printf '%s' "$x"`, "", result{`it's $HOME`, "", 0}},
		"a variable that it exports":         {"export CANARY=1; printenv CANARY", "", result{"1\n", "", 0}},
		"one for a single command":           {"X=2; CANARY=$X printenv CANARY", "", result{"2\n", "", 0}},
		"a folder":                           {"cd /usr && X=pwd && $X && cd bin && $X", "", result{"/usr\n/usr/bin\n", "", 0}},
		"a folder in the home":               {"X=folder; cd $X; pwd; cat file | rev; (cd /; pwd); ls", "", result{server.HomeOf(sshserver.User) + "/folder\nelif\n/\nfile\n", "", 0}},
		"a folder that is not there":         {"X=/nowhere; cd $X 2>/dev/null || echo no; pwd", "", result{"no\n" + server.HomeOf(sshserver.User) + "\n", "", 0}},
		"files that are tested":              {"for f in folder folder/file nothing; do if [ -d $f ]; then echo d; elif test -e $f; then echo f; else echo n; fi; done", "", result{"d\nf\nn\n", "", 0}},
		"a command that fails":               {"X=/nowhere; if ls $X >/dev/null 2>&1; then echo there; else echo not; fi", "", result{"not\n", "", 0}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if got := run(t, s.Command("ssh", Host, tc.command), tc.stdin); got != tc.want {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func TestACommandOfAScriptIsJudgedAsItsWords(t *testing.T) {
	needServer(t)
	target := interpreted(policy.Rule{Name: "no-rm", Match: policy.Match{Programs: []string{"rm", "touch"}}, Action: policy.Deny, Message: "files stay"}, tools)
	s := sshsidecar.Start(t, server, target)
	canary := filepath.Join(server.HomeOf(sshserver.User), "interpreted")
	if err := os.WriteFile(canary, []byte("kept"), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove(canary) })
	for name, tc := range map[string]struct {
		command string
		want    result
	}{
		"as the design has it":           {"X=rm; $X -rf " + canary, result{"", "", 126}},
		"made of pieces":                 {"a=r; b=m; $a$b " + canary, result{"", "", 126}},
		"printed by a command":           {"$(printf rm) " + canary, result{"", "", 126}},
		"split by IFS":                   {"IFS=,; x=rm," + canary + "; $x", result{"", "", 126}},
		"in the middle of the script":    {"X=rm; echo a; $X " + canary + "; echo $?", result{"a\n126\n", "", 0}},
		"in a pipe":                      {"X=rm; $X " + canary + " | cat; echo on", result{"on\n", "", 0}},
		"in a function":                  {"ls() { rm \"$1\"; }; ls " + canary, result{"", "", 126}},
		"in a folder that it went to":    {"cd " + filepath.Dir(canary) + "; X=rm; $X " + filepath.Base(canary), result{"", "", 126}},
		"behind a test of the file":      {"X=rm; [ -f " + canary + " ] && $X " + canary, result{"", "", 126}},
		"through a wrapper":              {"X=rm; env $X " + canary, result{"", "", 126}},
		"through another shell":          {"X=rm; sh -c \"$X " + canary + "\"", result{"", "", 126}},
		"in a subshell that set -e ends": {"set -e; X=rm; (echo a; $X " + canary + "; echo b)", result{"a\n", "", 126}},
		"by a builtin of the server's":   {"X=eval; env $X 'rm " + canary + "'", result{"", "", 126}},
	} {
		t.Run(name, func(t *testing.T) {
			got := run(t, s.Command("ssh", Host, tc.command), "")
			stderr := got.stderr
			got.stderr = ""
			if got != tc.want {
				t.Errorf("got %+v", got)
			}
			for _, w := range []string{"chaperone: denied", "policy prod/ops (generation 3), rule "} {
				if !strings.Contains(stderr, w) {
					t.Errorf("%q does not say %q", stderr, w)
				}
			}
			if content, err := os.ReadFile(canary); err != nil || string(content) != "kept" {
				t.Fatal("it ran")
			}
		})
	}
}

func TestAScriptIsRecordedWithEachOfItsCommands(t *testing.T) {
	needServer(t)
	s := sshsidecar.Start(t, server, interpreted(tools))
	if got := run(t, s.Command("ssh", Host, "X=seq; $X 2 | cat; touch x"), ""); got.stdout != "1\n2\n" || got.status != 126 {
		t.Fatalf("got %+v", got)
	}
	commands, results := map[string]record.Event{}, map[uint64]record.Event{}
	for _, e := range s.Log.Events() {
		switch e.Kind {
		case record.KindCommand:
			commands[e.Text] = e
		case record.KindResult:
			results[e.Command] = e
		}
	}
	for text, want := range map[string]struct{ verdict, rule, tag string }{
		"X=seq; $X 2 | cat; touch x": {"Allow", policy.RuleInterpreted, "exit status 126"},
		"'seq' '2'":                  {"Allow", "allowed", "exit status 0"},
		"'cat'":                      {"Allow", "allowed", "exit status 0"},
		"'touch' 'x'":                {"Deny", "default", ""},
	} {
		e, ok := commands[text]
		if !ok || e.Verdict != want.verdict || e.Rule != want.rule || e.Digest == "" {
			t.Errorf("%q is recorded as %+v", text, e)
		}
		if r := results[e.Command]; r.Tag != want.tag {
			t.Errorf("%q ended as %+v", text, r)
		}
	}
}

func TestWhatAScriptSeesIsMasked(t *testing.T) {
	needServer(t)
	target := interpreted(tools)
	target.Masking = []policy.Masking{{Detectors: []string{"CreditCard"}}}
	s := sshsidecar.Start(t, server, target)
	const card = "4111111111111111"
	file := filepath.Join(server.HomeOf(sshserver.User), "card")
	if err := os.WriteFile(file, []byte("card "+card+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove(file) })
	for name, command := range map[string]string{
		"as it is":               "X=cat; $X card",
		"backwards":              "X=cat; $X card | rev",
		"in pieces":              "x=$(cat card); echo \"${x:5:8}\"; echo \"${x:13}\"",
		"character by character": "x=$(cat card); i=0; while [ $i -lt 21 ]; do printf '%s ' \"${x:$i:1}\"; i=$((i+1)); done",
		"as words of a command":  "set -f; for w in $(cat card); do printf '%s' $w | rev; done",
	} {
		t.Run(name, func(t *testing.T) {
			got := run(t, s.Command("ssh", Host, command), "")
			digits := strings.Map(func(r rune) rune {
				if r >= '0' && r <= '9' {
					return r
				}
				return -1
			}, got.stdout)
			if got.status != 0 || len(digits) > 4 {
				t.Errorf("shown: %+v", got)
			}
		})
	}
	for _, e := range s.Log.Events() {
		if strings.Contains(e.Data+e.Text, card) {
			t.Errorf("recorded: %+v", e)
		}
	}
}

func TestPeopleApproveACommandInTheMiddleOfAScript(t *testing.T) {
	needServer(t)
	s := sshsidecar.Start(t, server, interpreted(approvals(600, "rm"), tools))
	canary := filepath.Join(server.HomeOf(sshserver.User), "approved")
	for n, state := range []string{"Approved", "Denied"} {
		if err := os.WriteFile(canary, nil, 0o666); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.Remove(canary) })
		command := fmt.Sprintf("X=rm; echo before; $X -f %s; echo $?", canary)
		done := make(chan result, 1)
		go func() { done <- run(t, s.Command("ssh", Host, command), "") }()
		ask := s.Desk.Next(t, n+1)
		if ask.Text != "'rm' '-f' '"+canary+"'" {
			t.Errorf("people are asked about %q", ask.Text)
		}
		if _, err := os.Stat(canary); err != nil {
			t.Error("it ran before it was approved")
		}
		s.Desk.Decide(n+1, state, "checked")
		got := <-done
		want := map[string]string{"Approved": "before\n0\n", "Denied": "before\n126\n"}[state]
		_, err := os.Stat(canary)
		if got.stdout != want || got.status != 0 || (err == nil) != (state == "Denied") {
			t.Errorf("%s: got %+v, the file: %v", state, got, err)
		}
	}
}

func TestWhatIsNoScriptIsNotInterpreted(t *testing.T) {
	needServer(t)
	target := interpreted(tools, policy.Rule{Name: "computed", Match: policy.Match{Programs: []string{"true"}, Unresolved: yes()}, Action: policy.Allow})
	s := sshsidecar.Start(t, server, target)
	for name, tc := range map[string]struct{ command, stdout, stderr string }{
		"one command that is allowed":          {"printf '%s' a", "a", ""},
		"a pipe that is allowed":               {"printf ab | rev", "ba", ""},
		"one command that is refused":          {"touch /nowhere/x", "", "touch is not allowed"},
		"what is no program of a shell":        {"echo )", "", "unrecognised"},
		"a shell that reads its input":         {"sh", "", "a shell that reads its commands"},
		"what the rules allow though computed": {"true $HOME && printf a", "a", ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := run(t, s.Command("ssh", Host, tc.command), "")
			if got.stdout != tc.stdout || !strings.Contains(got.stderr, tc.stderr) {
				t.Errorf("got %+v", got)
			}
		})
	}
	for _, e := range s.Log.Events() {
		if e.Rule == policy.RuleInterpreted {
			t.Errorf("was interpreted: %+v", e)
		}
	}
	s.Rules(sshsidecar.SSH(server, tools))
	if got := run(t, s.Command("ssh", Host, "X=id; $X"), ""); got.status != 126 || got.stdout != "" {
		t.Errorf("where no policy asks for it: %+v", got)
	}
}

func TestWhatCannotBeInterpretedIsRefusedInWords(t *testing.T) {
	needServer(t)
	s := sshsidecar.Start(t, server, interpreted(tools))
	for command, words := range map[string]string{
		"X=a; echo $X > file":            "redirections",
		"X=a; cat < $X":                  "redirections",
		"ls *.txt":                       "patterns",
		"cd /tmp && ls *":                "denied: cd is not allowed", // with the status of cd
		"X=a; cd ..; ls $X":              "cd with ..",
		"X=a; [[ -f $X ]]":               "[ ] asks the server",
		"rm -rf $HOME/x":                 "HOME is the server's",
		"X=a; ls ~/$X":                   "~ is not available",
		"X=a; sleep 1 & echo $X":         "background",
		"cat <(echo $X)":                 "process substitution",
		"eval \"$X\"; X=a":               "unbound",
		"X=eval; $X ls":                  "eval is not available",
		"X='id -un'; exec $X":            "exec is not available",
		"+=00000[":                       "an assignment has no name",
		"declare -A A=(0); echo $A":      "lists of values",
		"f() { f; }; f":                  "nested",
		"x=$(yes); echo $x":              "more memory",
		"while :; do :; done":            "steps",
		"while [[ 1 ]]; do x=1; done":    "steps",
		"x=xx; while :; do x=$x$x; done": "bytes",
	} {
		t.Run(command, func(t *testing.T) {
			got := run(t, s.Command("ssh", Host, command), "")
			if !strings.Contains(got.stderr, words) || got.status != 126 && words != "unbound" && !strings.HasPrefix(words, "denied: cd") {
				t.Errorf("got %+v, which does not say %q", got, words)
			}
		})
	}
	if got := run(t, s.Command("ssh", Host, "X=id; $X -un"), ""); got.stdout != sshserver.User+"\n" {
		t.Errorf("after all that: %+v", got)
	}
}

func TestAScriptEndsWithItsAgent(t *testing.T) {
	needServer(t)
	s := sshsidecar.Start(t, server, interpreted(tools))
	c := s.Client(t)
	session, err := c.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	const command = "X=987654; while sleep $X; do :; done"
	sleeps := func() bool {
		files, err := filepath.Glob("/proc/[0-9]*/cmdline")
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			if b, err := os.ReadFile(f); err == nil && string(b) == "sleep\x00987654\x00" {
				return true
			}
		}
		return false
	}
	if err := session.Start(command); err != nil {
		t.Fatal(err)
	}
	wait := func(what string, ok func() bool) {
		t.Helper()
		for end := time.Now().Add(time.Minute); !ok(); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal(what)
			}
		}
	}
	count := func(kind record.Kind) (n int) {
		for _, e := range s.Log.Events() {
			if e.Kind == kind {
				n++
			}
		}
		return n
	}
	wait("it did not start", sleeps)
	session.Close()
	wait("what it ran did not end", func() bool { return !sleeps() })
	wait("it did not end", func() bool { return count(record.KindResult) == 2 })
	if got := run(t, s.Command("ssh", Host, "X=id; $X -un"), ""); got.stdout != sshserver.User+"\n" {
		t.Errorf("and then: %+v", got)
	}
}

func TestANewPolicyJudgesTheRestOfAScript(t *testing.T) {
	needServer(t)
	s := sshsidecar.Start(t, server, interpreted(tools))
	c := s.Client(t)
	session, err := c.NewSession()
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
	if err := session.Start(`while read -r x; do printf '%s\n' a | rev; echo $?; done`); err != nil {
		t.Fatal(err)
	}
	turn := func(want string) {
		t.Helper()
		if _, err := io.WriteString(in, "on\n"); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(want))
		if _, err := io.ReadFull(out, got); err != nil || string(got) != want {
			t.Fatalf("got %q (%v), want %q", got, err, want)
		}
	}
	turn("a\n0\n")
	s.Rules(interpreted(policy.Rule{Name: "closed", Match: policy.Match{Programs: []string{"rev"}}, Action: policy.Deny}, tools))
	turn("126\n")
	s.Rules(interpreted(tools))
	turn("a\n0\n")
	in.Close()
	if err := session.Wait(); err != nil {
		t.Error(err)
	}
}

func TestAScriptEndsWithTheAccessThatWasGranted(t *testing.T) {
	needServer(t)
	s := sshsidecar.Start(t, server, interpreted(tools), func(p *policy.Policy) {
		p.Targets[0].Access = &policy.Access{MaxDurationSeconds: 5}
	})
	got := run(t, s.Command("ssh", Host, "X=654321; while sleep $X; do :; done"), "")
	if got.status == 0 || !strings.Contains(got.stderr, "the time that access was granted for is over") {
		t.Errorf("got %+v", got)
	}
}
