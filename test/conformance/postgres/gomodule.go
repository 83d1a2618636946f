package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/chaperone-dev/chaperone/test/conformance/difference"
	"github.com/chaperone-dev/chaperone/test/postgresserver"
)

// module copies a Go module from the module cache, where its tests cannot write, and returns the copy's folder.
func (b *bench) module(ctx context.Context, path, version string) (string, error) {
	scratch, err := os.MkdirTemp("", "module-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(scratch)
	cmd := exec.CommandContext(ctx, "go", "mod", "download", "-json", path+"@"+version)
	cmd.Dir = scratch
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("go mod download %s@%s: %w: %s", path, version, err, out)
	}
	var answer struct{ Dir string }
	if err := json.Unmarshal(out, &answer); err != nil {
		return "", fmt.Errorf("go mod download: %w", err)
	}
	to := filepath.Join(b.folder, "module-"+filepath.Base(filepath.Dir(path))+"-"+filepath.Base(path))
	if err := os.RemoveAll(to); err != nil {
		return "", err
	}
	if err := os.CopyFS(to, os.DirFS(answer.Dir)); err != nil {
		return "", err
	}
	return to, filepath.WalkDir(to, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			return os.Chmod(path, 0o755)
		}
		return os.Chmod(path, 0o644)
	})
}

// goTest runs the tests of packages and returns how each ended: pass, fail or skip. A test with parts is left out:
// its parts stand for it.
func (b *bench) goTest(ctx context.Context, s *side, folder, log string, environment []string, packages ...string) (map[string]string, error) {
	args := []string{"test", "-json", "-count=1", "-p=1", "-timeout=15m"}
	if b.only != nil {
		args = append(args, "-run=^("+strings.Join(b.only, "|")+")$")
	}
	cmd := exec.CommandContext(ctx, "go", append(args, packages...)...)
	cmd.Dir = folder
	cmd.Env = append(environment, "GOFLAGS=-mod=mod")
	var said, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = io.MultiWriter(&said, s.tests()), &complaints
	err := cmd.Run()
	out := said.Bytes()
	if werr := os.WriteFile(filepath.Join(b.folder, log), out, 0o644); werr != nil {
		return nil, werr
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) || ctx.Err() != nil {
		return nil, errors.Join(err, ctx.Err())
	}
	outcomes, perr := outcomes(out)
	if perr == nil && len(outcomes) == 0 {
		perr = fmt.Errorf("no test ran: %w: %s", err, &complaints)
	}
	return outcomes, perr
}

// scratch is the number in the name of a test's temporary folder (testing.T.TempDir), which some name their parts by.
var scratch = regexp.MustCompile(`(/Test[A-Za-z_]+)[0-9]{6,}`)

// outcomes reads what go test -json says.
func outcomes(text []byte) (map[string]string, error) {
	out := make(map[string]string)
	parents, ran := make(map[string]bool), make(map[string]bool)
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var e struct{ Action, Package, Test string }
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			continue // what the compiler says
		}
		if e.Test == "" {
			if e.Action == "fail" && !ran[e.Package] {
				return nil, fmt.Errorf("no test of %s ran", e.Package) // it did not compile, or ended early
			}
			continue
		}
		ran[e.Package] = true
		name := e.Package + "." + scratch.ReplaceAllString(e.Test, "$1")
		switch e.Action {
		case "pass", "fail", "skip":
			out[name] = e.Action
		case "run":
			for i, c := range e.Test {
				if c == '/' {
					parents[e.Package+"."+e.Test[:i]] = true
				}
			}
			out[name] = "unfinished"
		}
	}
	for name := range parents {
		delete(out, name)
	}
	return out, lines.Err()
}

// settled runs a client's tests on both sides, and those that differ twice more: tests that hang on how fast the machine
// is fail now and then, on either side. A test differs if it does each time.
func (b *bench) settled(run func(*bench) (map[string]map[string]string, error)) (difference.Report, error) {
	ended, err := run(b)
	if err != nil {
		return nil, err
	}
	out := compared(ended["direct"], ended["sidecar"])
	for range 2 {
		again := *b
		again.only = nil
		for test, r := range out {
			if name := topLevel.FindStringSubmatch(test); r.Differs && name != nil && !slices.Contains(again.only, name[1]) {
				again.only = append(again.only, name[1])
			}
		}
		if again.only == nil {
			break
		}
		if ended, err = run(&again); err != nil {
			return nil, err
		}
		// All parts of these tests have run again; of a side that ended early they had not all been known.
		maps.DeleteFunc(out, func(test string, _ difference.Result) bool {
			name := topLevel.FindStringSubmatch(test)
			return name != nil && slices.Contains(again.only, name[1])
		})
		maps.Copy(out, compared(ended["direct"], ended["sidecar"]))
	}
	return out, nil
}

// topLevel finds the test in a package's path, a dot, the test and its parts.
var topLevel = regexp.MustCompile(`\.((?:Test|Example|Fuzz)\w*)`)

// compared makes a report of outcomes of both sides.
func compared(direct, through map[string]string) difference.Report {
	out := make(difference.Report)
	for test, outcome := range direct {
		out[test] = difference.Result{Differs: through[test] != outcome}
	}
	for test := range through {
		if _, ok := direct[test]; !ok {
			out[test] = difference.Result{Differs: true}
		}
	}
	return out
}

// environment is what a client's tests run with: the machine's own, and which server to use.
func (s *side) environment(more ...string) []string {
	var env []string
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "PG") {
			env = append(env, kv)
		}
	}
	return append(env, more...)
}

// root writes the authority's certificate that clients of this side verify by.
func (s *side) root(folder string) (string, error) {
	root := s.server.Authority.PEM
	if s.sidecar != nil {
		root = s.sidecar.root
	}
	path := filepath.Join(folder, s.name+"-root.pem")
	return path, os.WriteFile(path, root, 0o644)
}

// superuser makes a role.
func superuser(name string) string {
	return fmt.Sprintf("CREATE ROLE %s LOGIN SUPERUSER PASSWORD 'secret'", name)
}

var _ = postgresserver.Superuser
