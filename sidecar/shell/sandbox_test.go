package shell

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// sandbox is a folder with real shells in which every other program only records that it was run: what a shell makes of
// a text can be seen without letting it do anything.
type sandbox struct {
	root   string
	shells []remoteShell
	mu     sync.Mutex // one text at a time: there is one log and one working directory
}

// remoteShell is a shell as a server would start it.
type remoteShell struct {
	name string
	argv []string // up to the text; the path is within the sandbox
}

// recorded are names of programs that only record.
var recorded = strings.Fields(`a b c f g x y ls rm cat cp mv grep head tail sort wc tee touch mkdir date sleep tr cut uniq seq
	sudo doas su ssh flock script strace chroot unshare nsenter pkexec runuser sg python3 perl awk sed git tar rsync make curl
	if-not done-not [[ ]] {} ! = @ % foo bar`)

// passed are programs that run others and do so in the sandbox too.
var passed = []string{"env", "nice", "nohup", "timeout", "setsid", "stdbuf", "xargs", "find"}

// sandboxUser owns nothing outside.
const sandboxUser = 61897

var shared = sync.OnceValues(newSandbox)

func TestMain(m *testing.M) {
	code := m.Run()
	for _, root := range roots {
		os.RemoveAll(root)
	}
	os.Exit(code)
}

// roots are the folders of sandboxes, to remove in the end.
var roots []string

// theSandbox returns the sandbox that all tests share, or skips: it takes a C compiler and the right to change root.
func theSandbox(t testing.TB) *sandbox {
	t.Helper()
	s, err := shared()
	if err != nil {
		t.Skipf("no sandbox: %v", err)
	}
	return s
}

func newSandbox() (*sandbox, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("only root can change the root folder")
	}
	root, err := os.MkdirTemp("", "shell-sandbox")
	if err != nil {
		return nil, err
	}
	roots = append(roots, root)
	s := &sandbox{root: root}
	for _, dir := range []string{"bin", "dev", "tmp"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			return nil, err
		}
	}
	if err := os.Chmod(root, 0o755); err != nil {
		return nil, err
	}
	recorder := filepath.Join(root, "launch")
	if out, err := exec.Command("cc", "-O1", "-static", "-o", recorder, "testdata/recorder.c").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("compiling the recorder: %w: %s", err, out)
	}
	for _, name := range recorded {
		if err := os.Link(recorder, filepath.Join(root, "bin", name)); err != nil {
			return nil, err
		}
	}
	for _, file := range []string{"log", "dev/null"} {
		if err := os.WriteFile(filepath.Join(root, file), nil, 0o666); err != nil {
			return nil, err
		}
		if err := os.Chmod(filepath.Join(root, file), 0o666); err != nil {
			return nil, err
		}
	}
	for _, name := range passed {
		if file, err := exec.LookPath(name); err == nil {
			if err := s.install(file, name); err != nil {
				return nil, err
			}
		}
	}
	for _, sh := range []struct {
		program, as string
		argv        []string
	}{
		{"dash", "dash", []string{"dash", "-c"}}, {"dash", "sh", nil}, {"bash", "bash", []string{"bash", "-c"}}, {"bash", "bash", []string{"sh", "-c"}},
		{"busybox", ".busybox", []string{"ash", "-c"}}, {"ksh93", "ksh", []string{"ksh", "-c"}}, {"mksh", "mksh", []string{"mksh", "-c"}}, {"yash", "yash", []string{"yash", "-c"}},
	} {
		file, err := exec.LookPath(sh.program)
		if err != nil {
			continue
		}
		if err := s.install(file, sh.as); err != nil {
			return nil, err
		}
		if sh.argv != nil {
			s.shells = append(s.shells, remoteShell{sh.program + " as " + sh.argv[0], append([]string{"/bin/" + sh.as}, sh.argv...)})
		}
	}
	if len(s.shells) == 0 {
		return nil, errors.New("no shell on this machine")
	}
	if o, err := s.run(s.shells[0], "ls 'a b'"); err != nil || len(o.ran) != 1 || !slices.Equal(o.ran[0], []string{"/bin/ls", "a b"}) {
		return nil, fmt.Errorf("trying it: %+v, %w", o, err)
	}
	return s, nil
}

// install copies a program and the libraries that it needs.
func (s *sandbox) install(file, name string) error {
	content, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	to := filepath.Join(s.root, "bin", name)
	os.Remove(to)
	if err := os.WriteFile(to, content, 0o755); err != nil {
		return err
	}
	out, err := exec.Command("ldd", file).Output()
	if err != nil {
		return nil //nolint:nilerr // static
	}
	for _, field := range strings.Fields(string(out)) {
		if !strings.HasPrefix(field, "/") {
			continue
		}
		to := filepath.Join(s.root, field)
		if _, err := os.Stat(to); err == nil {
			continue
		}
		library, err := os.ReadFile(field)
		if err != nil {
			return err
		}
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(to, library, 0o755); err != nil {
			return err
		}
	}
	return nil
}

// outcome is what happened when a shell was given a text.
type outcome struct {
	ran   [][]string // programs, each with its path and arguments
	files []string   // that were made
	ended bool       // by itself, not because it took too long
}

// run gives a text to a shell.
func (s *sandbox) run(sh remoteShell, text string) (o outcome, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	work := filepath.Join(s.root, "work")
	if err := os.RemoveAll(work); err != nil {
		return o, err
	}
	if err := os.Mkdir(work, 0o777); err != nil {
		return o, err
	}
	if err := os.Chmod(work, 0o777); err != nil {
		return o, err
	}
	if err := os.Truncate(filepath.Join(s.root, "log"), 0); err != nil {
		return o, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/launch", append(slices.Clone(sh.argv), text)...)
	cmd.Dir, cmd.Env = "/work", []string{"PATH=/bin"}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Chroot: s.root, Credential: &syscall.Credential{Uid: sandboxUser, Gid: sandboxUser}, Pdeathsig: syscall.SIGKILL,
		Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNET | syscall.CLONE_NEWIPC | syscall.CLONE_NEWNS | syscall.CLONE_NEWUTS,
	}
	cmd.WaitDelay = time.Second
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) && !errors.Is(err, exec.ErrWaitDelay) {
		return o, err
	}
	content, err := os.ReadFile(filepath.Join(s.root, "log"))
	if err != nil {
		return o, err
	}
	o.ended = ctx.Err() == nil
	if o.ran, err = records(content); err != nil {
		return o, err
	}
	err = filepath.WalkDir(work, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			name, _ := filepath.Rel(work, path)
			o.files = append(o.files, name)
		}
		return err
	})
	return o, err
}

func records(log []byte) (ran [][]string, err error) {
	next := func() (string, bool) {
		field, rest, ok := bytes.Cut(log, []byte{0})
		log = rest
		return string(field), ok
	}
	for len(log) > 0 {
		count, _ := next()
		n, err := strconv.Atoi(count)
		if err != nil {
			return nil, fmt.Errorf("reading the log: %w", err)
		}
		var words []string
		for range n {
			w, ok := next()
			if !ok {
				return nil, errors.New("reading the log: a record is cut off")
			}
			words = append(words, w)
		}
		ran = append(ran, words)
	}
	return ran, nil
}
