package script_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chaperone-dev/chaperone/sidecar/script"
	"github.com/chaperone-dev/chaperone/sidecar/shell"
	"github.com/chaperone-dev/chaperone/test/scriptprogram"
)

// result is how a script ended.
type result struct {
	stdout, stderr string
	ran            []string
	status         uint8
	err            error
}

func pipe(t testing.TB) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	return r, w
}

// interpret has a script interpreted whose commands run on this machine.
func interpret(ctx context.Context, t testing.TB, i *script.Interpreter, text, stdin string) (out result) {
	t.Helper()
	inR, inW := pipe(t)
	outR, outW := pipe(t)
	errR, errW := pipe(t)
	var copying sync.WaitGroup
	var stdout, stderr bytes.Buffer
	go func() {
		_, _ = io.WriteString(inW, stdin)
		inW.Close()
	}()
	copying.Go(func() { _, _ = io.Copy(&stdout, outR); outR.Close() })
	copying.Go(func() { _, _ = io.Copy(&stderr, errR); errR.Close() })
	var mu sync.Mutex
	out.status, out.err = i.Run(ctx, text, script.Pipes{Stdin: inR, Stdout: outW, Stderr: errW},
		func(ctx context.Context, c script.Command, start func() (*script.Pipes, error)) uint8 {
			argv := c.Argv
			mu.Lock()
			out.ran = append(out.ran, shell.Quote(argv))
			mu.Unlock()
			if argv[0] == "denied" {
				return 126
			}
			p, err := start()
			if err != nil {
				return 255
			}
			defer p.Close()
			if argv[0] == "cd" {
				argv = []string{"sh", "-c", shell.Quote(argv)}
			}
			cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
			cmd.Dir = c.Dir
			cmd.Stdin, cmd.Stdout, cmd.Stderr = p.Stdin, p.Stdout, p.Stderr
			if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
				return 127
			}
			if cmd.ProcessState.ExitCode() < 0 {
				return 128 + 13
			}
			return uint8(cmd.ProcessState.ExitCode())
		})
	copying.Wait()
	out.stdout, out.stderr = stdout.String(), stderr.String()
	return out
}

func within(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func TestAScriptRunsAsAShellWouldRunIt(t *testing.T) {
	i := script.New(scriptprogram.Build(t))
	big := strings.Repeat("x", 200<<10)
	for _, c := range []struct {
		name, text, stdin string
		stdout            string
		status            uint8
	}{
		{"a variable is the program", `X=printf; $X '%s.' a 'b c'`, "", "a.b c.", 0},
		{"a pipe", `printf 'b\na\n' | sort | cat`, "", "a\nb\n", 0},
		{"a pipe of much", `cat | cat | wc -c`, big, "204800\n", 0},
		{"a reader that leaves early", `yes | head -n 1`, "", "y\n", 0},
		{"a substitution", `x=$(printf ab | rev); echo "<$x>"`, "", "<ba>\n", 0},
		{"a here-document", "x=1; cat <<E\n$x\nE", "", "1\n", 0},
		{"a loop", `for i in 1 2 3; do expr $i + 1; done`, "", "2\n3\n4\n", 0},
		{"a loop that reads", `while read -r a b; do printf '%s-' "$b"; cat; done`, "1 2\n3 4\n", "2-4-", 0},
		{"what one command leaves is the next one's", `true; cat`, "left", "left", 0},
		{"the last status is the script's", `sh -c 'exit 7'`, "", "", 7},
		{"set -e", `set -e; false; echo no`, "", "", 1},
		{"set -e and a command that fails", `set -e; ls /nowhere; echo no`, "", "", 2},
		{"a denied one in the middle", `denied || echo "$?"; echo on`, "", "126\non\n", 0},
		{"stderr is apart", `sh -c 'echo e >&2' 2>/dev/null; echo o`, "", "o\n", 0},
		{"stderr joins", `sh -c 'echo e >&2' 2>&1 | rev`, "", "e\n", 0},
		{"a function", `f() { printf "$1"; return 3; }; f x; echo $?`, "", "x3\n", 0},
		{"an exported variable", `export A=1; B=2; C=3 sh -c 'echo "$A$B$C"'`, "", "13\n", 0},
		{"a folder", `cd /usr && pwd && (cd bin; pwd); pwd`, "", "/usr\n/usr/bin\n/usr\n", 0},
		{"a folder that is not there", `cd /nowhere && pwd; echo $?`, "", "1\n", 0},
		{"a test of a file", `if [ -d /usr ] && ! test -e /nowhere; then echo yes; fi`, "", "yes\n", 0},
		{"a test of a file that is not there", `[ -f /nowhere ]`, "", "", 1},
		{"a test of words", `[ a = a ] && test b != a && echo yes`, "", "yes\n", 0},
		{"a variable that is not set", `rm -rf "$nothing/x"`, "", "", 1},
		{"one that is not set but provided for", `echo "${nothing:-something}"`, "", "something\n", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := interpret(within(t, time.Minute), t, i, c.text, c.stdin)
			if got.err != nil || got.stdout != c.stdout || got.status != c.status {
				t.Errorf("got %+v", got)
			}
			if strings.Contains(strings.Join(got.ran, "\n"), "rm") {
				t.Errorf("ran %q", got.ran)
			}
		})
	}
}

func TestAHostileScriptEndsAloneAndInWords(t *testing.T) {
	i := script.New(scriptprogram.Build(t))
	for _, c := range []struct{ name, text, words string }{
		{"memory in one substitution", `x=$(yes); echo $x`, "more memory"},
		{"processor time", `i=0; while [[ 1 ]]; do for ((;;)); do (( 1 )); done; done`, "available steps processor"},
		{"an endless loop of commands", `while :; do true; done`, "10000 steps"},
		{"processes without end", `f() { f | f; }; f`, "nested commands steps pipes"},
		{"a process substitution", `cat <(true)`, "process substitution"},
		{"one the interpreter panics at", `+=00000[`, "no name"},
		{"another", `declare -A A=(0)`, "lists of values"},
		{"a long text", strings.Repeat("true;", 4000), "more than 16384 bytes"},
		{"a file", `cat < /etc/passwd`, "redirections"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := interpret(within(t, 2*time.Minute), t, i, c.text, "")
			var refused *script.Refused
			if !errors.As(got.err, &refused) {
				t.Fatalf("got status %d, %v", got.status, got.err)
			}
			found := false
			for _, w := range strings.Fields(c.words) {
				found = found || strings.Contains(refused.Why, w)
			}
			t.Log(refused.Why)
			if !found && !strings.Contains(refused.Why, c.words) {
				t.Errorf("says %q, not %q", refused.Why, c.words)
			}
			if after := interpret(within(t, time.Minute), t, i, `x=on; echo $x`, ""); after.stdout != "on\n" {
				t.Errorf("and then: %+v", after)
			}
		})
	}
}

func TestNothingIsLeftOfScripts(t *testing.T) {
	i := script.New(scriptprogram.Build(t))
	count := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	interpret(within(t, time.Minute), t, i, `true | true`, "")
	before := count()
	var scripts sync.WaitGroup
	for range 20 {
		scripts.Go(func() {
			for _, text := range []string{`x=$(printf a | rev); echo "$x" | cat`, `yes | head -n 1`, `x=$(yes)`, `echo )`} {
				interpret(within(t, 5*time.Minute), t, i, text, "x")
			}
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(10*time.Millisecond, cancel)
			interpret(ctx, t, i, `while :; do sleep 1000 | cat; done`, "x")
		})
	}
	scripts.Wait()
	for end := time.Now().Add(time.Minute); count() > before; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d descriptors are open, %d were", count(), before)
		}
	}
}

// FuzzInterpret has the program interpret anything; whatever becomes of it, the sidecar goes on.
func FuzzInterpret(f *testing.F) {
	for _, text := range []string{
		`X=rm; $X -rf /`, `for i in a b; do say $i | cat; done`, "cat <<E\n$x\nE", `f() { f | f; }; f`, `x=$(a $(b)); echo "${x:1:2}" >&2`,
		`while read l; do echo "$l"; done`, `+=00000[`, `declare -A A=(0)`, `a | b | c 2>&1 | d`, `set -e; (a; false) || b`,
	} {
		f.Add(text)
	}
	i := script.New(scriptprogram.Build(f))
	f.Fuzz(func(t *testing.T, text string) {
		inR, inW := pipe(t)
		outR, outW := pipe(t)
		errR, errW := pipe(t)
		go func() { _, _ = io.WriteString(inW, "a b\nc\n"); inW.Close() }()
		for _, r := range []*os.File{outR, errR} {
			go func() { _, _ = io.Copy(io.Discard, r); r.Close() }()
		}
		ctx := within(t, 2*time.Minute)
		_, err := i.Run(ctx, text, script.Pipes{Stdin: inR, Stdout: outW, Stderr: errW},
			func(ctx context.Context, c script.Command, start func() (*script.Pipes, error)) uint8 {
				argv := c.Argv
				if len(argv) == 0 || strings.Contains(strings.Join(argv, ""), "\x00") {
					t.Errorf("%q comes to %q", text, argv)
				}
				p, err := start()
				if err != nil {
					return 255
				}
				stop := context.AfterFunc(ctx, p.Close)
				defer stop()
				_, _ = io.WriteString(p.Stdout, argv[0]+"\n")
				p.Close()
				return uint8(len(argv) % 3)
			})
		var refused *script.Refused
		if err != nil && !errors.As(err, &refused) {
			t.Errorf("%q ends with %v", text, err)
		}
	})
}
