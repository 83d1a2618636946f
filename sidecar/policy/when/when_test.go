package when

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/policy/cel"
)

// built holds the program once a test has needed it.
var built struct {
	once sync.Once
	dir  string
	err  error
}

// TestMain is also a sidecar that compiles a condition, says which process it is, and waits.
func TestMain(m *testing.M) {
	if program := os.Getenv("WHEN_TEST_SIDECAR"); program != "" {
		e := New(program)
		_, err := e.Compile(policy.ProtocolPostgres, "true")
		fmt.Println(e.child.pid, err)
		time.Sleep(time.Hour)
	}
	code := m.Run()
	if built.dir != "" {
		_ = os.RemoveAll(built.dir)
	}
	os.Exit(code)
}

// program is cmd/when, built as it is shipped.
func program(t testing.TB) string {
	t.Helper()
	built.once.Do(func() {
		if built.dir, built.err = os.MkdirTemp("", "when"); built.err != nil {
			return
		}
		build := exec.Command("go", "build", "-tags", "netgo,osusergo", "-ldflags", "-s -w", "-o", built.dir, "../../../cmd/when")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			built.err = fmt.Errorf("building: %w\n%s", err, out)
		}
	})
	if built.err != nil {
		t.Fatal(built.err)
	}
	return filepath.Join(built.dir, "when")
}

// script is a program that does what a shell does.
func script(t testing.TB, content string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(file, []byte("#!/bin/sh\n"+content+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return file
}

func evaluator(t testing.TB, program string) *Evaluator {
	t.Helper()
	e := New(program)
	t.Cleanup(e.Close)
	return e
}

func selectFrom(tables ...string) policy.Command {
	s := &policy.SQL{Command: "SELECT"}
	for _, name := range tables {
		s.Tables = append(s.Tables, policy.Table{Schema: "public", Name: name})
	}
	return policy.Command{Protocol: policy.ProtocolPostgres, Text: "select", SQL: s}
}

// decide judges by a policy that allows everything but what the rule denies.
func decide(t *testing.T, e *Evaluator, when string, cmd policy.Command) policy.Verdict {
	t.Helper()
	previous := policy.Conditions
	defer func() { policy.Conditions = previous }()
	policy.Conditions = e.Compile
	c, err := policy.Compile(policy.Set{Policies: []policy.Policy{{
		Namespace: "ns", Name: "p", Enforcement: policy.Enforce,
		Targets: []policy.Target{{Name: "db", Hosts: []string{"db"}, Postgres: &policy.Postgres{
			DefaultAction: policy.Allow, Rules: []policy.Rule{{Name: "r", When: when, Action: policy.Deny}},
		}}},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	return c.Lookup("db", 5432).Decide(cmd)
}

func gone(pid int) bool { return syscall.Kill(pid, 0) == syscall.ESRCH }

func within(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for begin := time.Now(); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Since(begin) > 20*time.Second {
			t.Fatalf("%s: not within 20 s", what)
		}
	}
}

func TestTheProgramEvaluates(t *testing.T) {
	e := evaluator(t, program(t))
	if e.child != nil {
		t.Error("it was started before anybody asked")
	}
	const when = `command.tables.exists(t, t.endsWith("customers"))`
	if v := decide(t, e, when, selectFrom("orders", "customers")); v.Action != policy.Deny || v.Unevaluated {
		t.Errorf("what the condition is for: %+v", v)
	}
	if v := decide(t, e, when, selectFrom("orders")); v.Action != policy.Allow {
		t.Errorf("what it is not for: %+v", v)
	}
	if v := decide(t, e, `command.tables[0] == "x"`, selectFrom()); v.Action != policy.Deny || !strings.Contains(v.Message, "index out of bounds") {
		t.Errorf("what cannot be evaluated: %+v", v)
	}
	if e.failures != 0 || e.number.Load() != 6 {
		t.Errorf("%d failures in %d requests", e.failures, e.number.Load())
	}
}

func TestErrorsReadAsIfCompiledHere(t *testing.T) {
	e := evaluator(t, program(t))
	for _, when := range []string{`command.tables`, `command.tables.exists(`, `command.table == "x"`, `request.user == "x"`} {
		_, want := cel.Compile(policy.ProtocolPostgres, when)
		if _, err := e.Compile(policy.ProtocolPostgres, when); want == nil || err == nil || err.Error() != want.Error() {
			t.Errorf("%s: got %v, want %v", when, err, want)
		}
	}
	if _, err := e.Compile("smtp", "true"); err == nil || !strings.Contains(err.Error(), "no conditions yet") {
		t.Errorf("got %v", err)
	}
}

func TestManyAskAtOnce(t *testing.T) {
	e := evaluator(t, program(t))
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			name := fmt.Sprint("t", i)
			c, err := e.Compile(policy.ProtocolPostgres, `command.tables == ["public.`+name+`"]`)
			if err != nil {
				t.Error(err)
				return
			}
			for k := range 50 {
				table := fmt.Sprint("t", k%8)
				if got, err := c.Eval(selectFrom(table)); err != nil || got != (table == name) {
					t.Errorf("%s of %s: %v, %v", name, table, got, err)
				}
			}
		})
	}
	all.Wait()
}

func TestFailsClosed(t *testing.T) {
	hostile := func(answer string) string { return script(t, "printf '"+answer+"'; exec sleep 60") }
	for name, c := range map[string]struct{ program, want string }{
		"no program":                      {filepath.Join(t.TempDir(), "none"), "no such file"},
		"a program that ends at once":     {script(t, "exit 3"), ""},
		"one that reads and dies":         {script(t, "head -c 20 >/dev/null; kill -9 $$"), ""},
		"one that never answers":          {script(t, "exec sleep 60"), "no answer within 300ms"},
		"one that answers in part":        {hostile(`\000\000\000\040{"Num`), "no answer within 300ms"},
		"one that answers another number": {hostile(`\000\000\000\034{"Number":99,"Matched":false}`), ""},
		"one that answers without end":    {hostile(`\377\377\377\377`), "4294967295 bytes, more than 65536"},
		"one that answers no JSON":        {hostile(`\000\000\000\002hi`), ""},
	} {
		t.Run(name, func(t *testing.T) {
			e := evaluator(t, c.program)
			e.startLimit, e.evalLimit = 300*time.Millisecond, 300*time.Millisecond
			first, err := e.Compile(policy.ProtocolPostgres, "false")
			if err != nil {
				t.Fatalf("policies would not come in force: %v", err)
			}
			e.notBefore = time.Time{}
			if _, err := first.Eval(selectFrom("a")); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
			if e.child != nil {
				t.Error("a child that failed was kept")
			}
			if v := decide(t, e, "false", selectFrom("a")); v.Action != policy.Deny || !v.Unevaluated || !strings.Contains(v.Message, "could not be evaluated") {
				t.Errorf("got %+v", v)
			}
		})
	}
}

func TestWrongAnswersFailClosed(t *testing.T) {
	e := evaluator(t, script(t, `
while :; do
  n=$((n + 1))
  dd bs=10000 count=1 2>/dev/null >/dev/null
  printf '\000\000\000\014{"Number":'$n'}'
done`))
	c, err := e.Compile(policy.ProtocolPostgres, "false")
	if err != nil || e.child == nil {
		t.Fatalf("it does not answer: %v", err)
	}
	if matched, err := c.Eval(selectFrom("a")); err == nil || !strings.Contains(err.Error(), "contradicts itself") {
		t.Errorf("an answer that is none: %v, %v", matched, err)
	}
}

func TestWhatIsTooLongFailsClosed(t *testing.T) {
	e := evaluator(t, program(t))
	cmd := selectFrom("a")
	cmd.Text = strings.Repeat("\x01", 1<<20)
	if v := decide(t, e, "false", cmd); v.Action != policy.Deny || !strings.Contains(v.Message, "more than can be asked at once") {
		t.Errorf("got %+v", v)
	}
	cmd.Text = strings.Repeat("x", 1<<20)
	if v := decide(t, e, "false", cmd); v.Action != policy.Allow {
		t.Errorf("the longest statement: %+v", v)
	}
}

func TestADeadProgramIsStartedAgain(t *testing.T) {
	e := evaluator(t, program(t))
	c, err := e.Compile(policy.ProtocolPostgres, `size(command.tables) == 1`)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		before := e.child.pid
		if err := syscall.Kill(before, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		within(t, "the child is waited for", func() bool { return gone(before) && !e.child.alive() })
		if matched, err := c.Eval(selectFrom("a")); err != nil || !matched {
			t.Errorf("after its end: %v, %v", matched, err)
		}
	}
	// Stopped in the middle of things, it is slow.
	e.evalLimit = 200 * time.Millisecond
	before := e.child.pid
	if err := syscall.Kill(before, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if matched, err := c.Eval(selectFrom("a")); err == nil {
		t.Errorf("a stopped child answered %v", matched)
	}
	within(t, "the slow child is killed", func() bool { return gone(before) })
	within(t, "another answers", func() bool {
		matched, err := c.Eval(selectFrom("a"))
		return err == nil && matched
	})
}

func TestAProgramThatFailsIsNotStartedAtEveryRequest(t *testing.T) {
	runs := filepath.Join(t.TempDir(), "runs")
	e := evaluator(t, script(t, "echo >>"+runs))
	c, _ := e.Compile(policy.ProtocolPostgres, "true")
	begin := time.Now()
	for time.Since(begin) < time.Second {
		if _, err := c.Eval(selectFrom("a")); err == nil {
			t.Fatal("it answered")
		}
		time.Sleep(time.Millisecond)
	}
	content, err := os.ReadFile(runs)
	// At 0, 100, 300 and 700 ms.
	if n := len(content); err != nil || n < 2 || n > 4 {
		t.Errorf("%d runs in a second, %v", n, err)
	}
}

func TestTheProgramHasNothingOfOurs(t *testing.T) {
	t.Setenv("CHAPERONE_SECRET", "x")
	e := evaluator(t, program(t))
	if _, err := e.Compile(policy.ProtocolPostgres, "true"); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", e.child.pid))
	if want := strings.Join(environment, "\x00") + "\x00"; err != nil || string(got) != want {
		t.Errorf("its environment is %q, %v", got, err)
	}
	descriptors, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", e.child.pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range descriptors {
		to, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/%s", e.child.pid, d.Name()))
		// Go's runtime looks at its cgroup itself.
		own := strings.HasPrefix(to, "pipe:") || strings.HasPrefix(to, "anon_inode:") || strings.HasPrefix(to, "/sys/fs/cgroup/")
		if !own && to != os.DevNull {
			t.Errorf("it has %s open", to)
		}
	}
}

func TestTheProgramEndsWithTheSidecar(t *testing.T) {
	e := New(program(t))
	c, err := e.Compile(policy.ProtocolPostgres, "true")
	if err != nil {
		t.Fatal(err)
	}
	pid := e.child.pid
	ended := e.child
	e.Close()
	if !gone(pid) || ended.status != nil {
		t.Errorf("after Close: still there, or ended with %v", ended.status)
	}
	if _, err := c.Eval(selectFrom("a")); err == nil {
		t.Error("it was started again")
	}

	// Killed, a sidecar closes nothing itself; a program that reads nothing does not see its input end.
	for name, program := range map[string]string{
		"the program":         program(t),
		"one that is stopped": script(t, `printf '\000\000\000\014{"Number":1}'; exec sleep 3600`),
	} {
		t.Run(name, func(t *testing.T) {
			sidecar := exec.Command(os.Args[0])
			sidecar.Env = append(os.Environ(), "WHEN_TEST_SIDECAR="+program)
			out, err := sidecar.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := sidecar.Start(); err != nil {
				t.Fatal(err)
			}
			defer func() { _ = sidecar.Wait() }()
			var pid int
			var said string
			if _, err := fmt.Fscan(out, &pid, &said); err != nil || said != "<nil>" || gone(pid) {
				t.Fatalf("pid %d, %s, %v", pid, said, err)
			}
			if err := sidecar.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			within(t, "it ends", func() bool { return gone(pid) || zombie(pid) })
		})
	}
}

// zombie tells of a process that ended and that nobody waits for: the machine's first process may not.
func zombie(pid int) bool {
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && strings.Contains(string(content), ") Z ")
}
