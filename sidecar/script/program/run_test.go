package program

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chaperone-dev/chaperone/sidecar/script/wire"
	"github.com/chaperone-dev/chaperone/sidecar/shell"
)

// carry runs a program whose commands all succeed without a word but for say, which prints its words.
func carry(t testing.TB, text string) (ran []string, out string, status uint8, err error) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var mu sync.Mutex
	var stdout, stderr bytes.Buffer
	status, err = Run(ctx, text, Options{Stdout: &stdout, Stderr: &stderr, Exec: func(_ context.Context, c Command) (uint8, error) {
		mu.Lock()
		ran = append(ran, shell.Quote(c.Argv))
		mu.Unlock()
		switch c.Argv[0] {
		case "say":
			_, _ = io.WriteString(c.Stdout, strings.Join(c.Argv[1:], " ")+"\n")
		case "cat":
			_, _ = io.Copy(c.Stdout, c.Stdin)
		case "fail":
			return 7, nil
		}
		return 0, nil
	}})
	return ran, stdout.String(), status, err
}

func TestCommandsAreHandedOverAsTheWordsThatWereMade(t *testing.T) {
	for _, c := range []struct {
		name, text string
		argv       [][]string
	}{
		{"a variable is the program", `X=rm; $X -rf /`, [][]string{{"rm", "-rf", "/"}}},
		{"IFS splits a variable", `IFS=,; x=rm,-rf,/; $x`, [][]string{{"rm", "-rf", "/"}}},
		{"a substitution is the program", `$(say rm) /`, [][]string{{"say", "rm"}, {"rm", "/"}}},
		{"echo is not asked for", `$(echo rm) /`, [][]string{{"rm", "/"}}},
		{"a loop", `for i in 1 2; do say $i; done`, [][]string{{"say", "1"}, {"say", "2"}}},
		{"a function named like a command hides what it does not", `ls() { rm "$1"; }; ls /x`, [][]string{{"rm", "/x"}}},
		{"a variable for one command goes with it", `LD_PRELOAD=/x ls`, [][]string{{"env", "LD_PRELOAD=/x", "ls"}}},
		{"an exported PATH goes with every command", `export PATH=/evil; ls`, [][]string{{"env", "PATH=/evil", "ls"}}},
		{"a BASH_ENV that is set but not exported stays here", `BASH_ENV=/x; ls`, [][]string{{"ls"}}},
		{"a test of a file is the server's", `[ -f /etc/passwd ] && test -r x`, [][]string{{"test", "-f", "/etc/passwd"}, {"test", "-r", "x"}}},
		{"by an operator that is computed", `o=-f; test "$o" x`, [][]string{{"test", "-f", "x"}}},
		{"of words it is not", `[ a = a ] && say a`, [][]string{{"say", "a"}}},
		{"so are processes and the folder", `pwd -P; kill 1; command -v ls`, [][]string{{"pwd", "-P"}, {"kill", "1"}, {"command", "-v", "ls"}}},
		{"an exit status steers", `fail || rm /x`, [][]string{{"fail"}, {"rm", "/x"}}},
		{"a here-document is expanded", "x=1; cat <<E\n$x\nE", [][]string{{"cat"}}},
		{"to /dev/null", `say x >/dev/null 2>&1`, [][]string{{"say", "x"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var want []string
			for _, argv := range c.argv {
				want = append(want, shell.Quote(argv))
			}
			ran, _, _, err := carry(t, c.text)
			if err != nil || strings.Join(ran, "\n") != strings.Join(want, "\n") {
				t.Errorf("ran %q (%v), want %q", ran, err, want)
			}
		})
	}
}

func TestCommandsRunWhereTheProgramWent(t *testing.T) {
	var ran []string
	_, err := Run(t.Context(), `say; cd a; say; (cd /b/; say); cd 'c d'; say; cd /e && cd f && say`, Options{Stdout: io.Discard, Stderr: io.Discard,
		Exec: func(_ context.Context, c Command) (uint8, error) {
			ran = append(ran, c.Dir+": "+strings.Join(c.Argv, " "))
			return 0, nil
		}})
	want := []string{": say", ": cd ./a", "./a: say", ": cd /b", "/b: say", ": cd ./a/c d", "./a/c d: say", ": cd /e", ": cd /e/f", "/e/f: say"}
	if err != nil || strings.Join(ran, "\n") != strings.Join(want, "\n") {
		t.Errorf("ran %q (%v), want %q", ran, err, want)
	}
}

func TestStreamsAndStatusesAreTheProgramsOwn(t *testing.T) {
	for _, c := range []struct {
		name, text, out string
		status          uint8
	}{
		{"a pipe", `say a | cat`, "a\n", 0},
		{"a loop reads what a command prints", `say a b | while read x y; do echo "$y"; done`, "b\n", 0},
		{"the last status is the program's", `fail`, "", 7},
		{"exit", `exit 3; say no`, "", 3},
		{"a status is there for the next command", `fail; echo $?`, "7\n", 0},
		{"a status is there in a function", `f() { echo $?; }; fail; f`, "7\n", 0},
		{"set -e ends", `set -e; fail; echo no`, "", 7},
		{"set -e does not end at what is negated", `set -e; ! true; echo $?`, "1\n", 0},
		{"set -e does not end at what is asked for", `set -e; if fail; then :; fi; fail || echo $?`, "7\n", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, out, status, err := carry(t, c.text)
			if err != nil || out != c.out || status != c.status {
				t.Errorf("printed %q, status %d (%v)", out, status, err)
			}
		})
	}
}

func TestNothingOfThisMachineIsReachedNorBoundsPassed(t *testing.T) {
	for _, c := range []struct{ name, text string }{
		{"process substitution makes a named pipe", `cat <(say x)`},
		{"a file is read", `cat < /etc/passwd`},
		{"a file is written", `say x > /tmp/x`},
		{"a file name comes from a variable", `f=/dev/null; cat < $f`},
		{"a pattern lists a directory", `say /etc/*`},
		{"a pattern in a variable lists a directory", `x='/etc/*'; say $x`},
		{"a test in brackets looks at a file", `[[ -e /etc/passwd ]] && say yes`},
		{"a test in brackets of access", `[[ -r /etc/passwd ]] && say yes`}, {"one that compares files", `[[ /etc/passwd -nt /etc/shadow ]]`},
		{"cd to a folder above", `cd ..`}, {"above another", `cd a/../../b`}, {"cd home", `cd`}, {"cd back", `cd -`}, {"cd with an option", `cd -P /`},
		{"a user's home is looked up", `echo ~root`},
		{"a user's home in an assignment", `x=a:~root; echo $x`},
		{"the process id", `echo $$`}, {"the parent's process id", `echo $PPID`},
		{"the parent's process id in arithmetic", `a=PPID; echo $((a))`}, {"a reference to it", `declare -n r=PPID; echo $r`},
		{"an indirect process id", `x=PPID; echo ${!x}`},
		{"type looks for programs", `type -p ls`},
		{"source", `. /etc/profile`},
		{"builtin reaches source", `builtin source /etc/profile`}, {"command reaches type", `command type ls`},
		{"exec", `exec ls`}, {"eval", `eval 'rm /x'`}, {"a trap", `trap 'rm /x' EXIT`}, {"an alias", `alias ls=rm`},
		{"a job in the background", `say x &`},
		{"an endless loop", `while :; do :; done`},
		{"an endless loop without a command", `while [[ 1 ]]; do x=1; done`},
		{"an endless arithmetic loop", `for ((;;)); do x=1; done`},
		{"a function without end", `f() { f; }; f`},
		{"a substitution without end", `x=$(while :; do echo xxxxxxxx; done)`},
		{"a variable that doubles", `x=xx; while :; do x=$x$x; done`},
		{"a variable that doubles without a loop", `x=xx` + strings.Repeat(`;x=$x$x`, 100)},
		{"braces", `echo {1..99999999}`}, {"a width", `printf %99999999d 1`}, {"a long text", strings.Repeat("say x;", wire.MaxText)},
		{"an assignment to no name, at which the interpreter panics", `+=00000[`}, {"one in a pipe", `+=00000[ | say x`},
		{"an associative array of bare values, at which it panics too", `o=-A; declare $o a=(0)`},
		{"a NUL byte", "say \x00tick"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ran, out, _, err := carry(t, c.text)
			var refusal *Refusal
			if !errors.As(err, &refusal) {
				t.Errorf("was let through: ran %q, printed %q (%v)", ran, out, err)
			}
			for _, r := range ran {
				if strings.HasPrefix(r, "rm") || strings.HasPrefix(r, "cat") {
					t.Errorf("ran %q", r)
				}
			}
		})
	}
}
