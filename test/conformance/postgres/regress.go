package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/chaperone-dev/chaperone/test/conformance/difference"
)

// Scripts that make what the others use, by C functions and files of the server: those that follow run on what they
// made directly. Through the sidecar they run in a database of their own.
var setup = []string{"test_setup", "create_function_c"}

// madePast is the one function in C that a script (create_view) makes for another (select_views): the sidecar refuses it
// to the one, and the other shall show what is its own.
const madePast = "CREATE FUNCTION interpt_pp(path, path) RETURNS point AS '%s' LANGUAGE C STRICT"

// runRegress runs the regression suite (src/test/regress).
func runRegress(ctx context.Context, b *bench) (difference.Report, error) {
	folder, err := b.built(ctx, "src/test/regress")
	if err != nil {
		return nil, err
	}
	libraries, err := b.libraries(ctx)
	if err != nil {
		return nil, err
	}
	input := filepath.Join(b.folder, "regress-input")
	if err := regressInput(folder, input); err != nil {
		return nil, err
	}
	schedule, err := schedule(filepath.Join(folder, "parallel_schedule"), b.only)
	if err != nil {
		return nil, err
	}
	first, rest := split(schedule, setup)
	refused := make(map[string]map[string]struct{})
	err = b.both(func(s *side) error {
		run := func(port int, database, output string, schedule [][]string) error {
			if len(schedule) == 0 {
				return nil
			}
			return s.regress(ctx, filepath.Join(folder, "pg_regress"), port, database, filepath.Join(b.folder, output), schedule,
				"--bindir="+b.installation.Bin, "--inputdir="+input, "--dlpath="+libraries)
		}
		if err := s.database(ctx, "regression"); err != nil {
			return err
		}
		if err := run(s.server.Port, "regression", "regress-setup-"+s.name, first); err != nil {
			return err
		}
		if s.sidecar != nil {
			if err := s.execute(ctx, "regression", fmt.Sprintf(madePast, filepath.Join(libraries, "regress.so"))); err != nil {
				return err
			}
		}
		if err := run(s.port, "regression", "regress-"+s.name, rest); err != nil {
			return err
		}
		if s.sidecar == nil {
			return nil
		}
		for _, test := range slices.Concat(rest...) {
			refused[test] = s.refused("pg_regress/" + test)
		}
		// The set-up again, now through the sidecar. What it made before belongs to the whole server only in part.
		if err := s.database(ctx, "regression_setup"); err != nil {
			return err
		}
		if err := run(s.port, "regression_setup", "regress-setup-through", first); err != nil {
			return err
		}
		for _, test := range slices.Concat(first...) {
			refused[test] = s.refused("pg_regress/" + test)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	out := make(difference.Report)
	for test, messages := range refused {
		direct, through := "regress-direct", "regress-sidecar"
		if slices.Contains(setup, test) {
			direct, through = "regress-setup-direct", "regress-setup-through"
		}
		differs, err := b.differ(test, direct, through)
		if err != nil {
			return nil, err
		}
		out[test] = difference.Result{Differs: differs, Refusals: messages}
	}
	return out, nil
}

// libraries gathers the shared libraries that the scripts load.
func (b *bench) libraries(ctx context.Context) (string, error) {
	folder := filepath.Join(b.folder, "lib")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return "", err
	}
	for part, names := range map[string][]string{"src/test/regress": {"regress.so"}, "contrib/spi": {"refint.so", "autoinc.so"}} {
		from, err := b.built(ctx, part)
		if err != nil {
			return "", err
		}
		for _, name := range names {
			code, err := os.ReadFile(filepath.Join(from, name))
			if err != nil {
				return "", err
			}
			if err := os.WriteFile(filepath.Join(folder, name), code, 0o755); err != nil {
				return "", err
			}
		}
	}
	return folder, nil
}

// fromFile is a COPY of a file of the server into a table, as the scripts load their rows.
var fromFile = regexp.MustCompile(`(?m)^COPY ([a-z0-9_]+(?: ?\([a-z0-9_, ]+\))?) FROM :'filename';$`)

// regressInput copies the scripts. Where one loads its rows from a file of the server, psql sends it instead: the
// sidecar refuses server-side files, which COPY's own scripts and the set-up show, and everything else would follow
// from rows that are not there.
func regressInput(from, to string) error {
	if err := os.RemoveAll(to); err != nil {
		return err
	}
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		return err
	}
	scripts, err := filepath.Glob(filepath.Join(to, "sql", "*.sql"))
	if err != nil {
		return err
	}
	for _, path := range scripts {
		name := strings.TrimSuffix(filepath.Base(path), ".sql")
		if slices.Contains(setup, name) {
			continue
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		changed := fromFile.ReplaceAll(text, []byte("\\set command '\\\\copy $1 FROM ' :'filename'\n:command"))
		if bytes.Equal(text, changed) {
			continue
		}
		if err := os.WriteFile(path, changed, 0o644); err != nil {
			return err
		}
	}
	return give(to)
}

// schedule reads a schedule: groups of scripts that run side by side.
func schedule(path string, only []string) ([][]string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var out [][]string
	for line := range strings.Lines(string(text)) {
		names, ok := strings.CutPrefix(strings.TrimSpace(line), "test:")
		if !ok {
			continue
		}
		group := strings.Fields(names)
		if only != nil {
			group = slices.DeleteFunc(group, func(name string) bool { return !slices.Contains(only, name) && !slices.Contains(setup, name) })
		}
		if len(group) > 0 {
			out = append(out, group)
		}
	}
	return out, nil
}

// split takes some scripts out of a schedule.
func split(schedule [][]string, names []string) (taken, rest [][]string) {
	for _, group := range schedule {
		var left []string
		for _, name := range group {
			if slices.Contains(names, name) {
				taken = append(taken, []string{name})
			} else {
				left = append(left, name)
			}
		}
		if len(left) > 0 {
			rest = append(rest, left)
		}
	}
	return taken, rest
}

// regress runs pg_regress, or what is made of it, over a schedule. That scripts fail is no error: their outputs are
// compared, not with what was expected of a server that is set up for them, but with one another.
func (s *side) regress(ctx context.Context, program string, port int, database, output string, schedule [][]string, args ...string) error {
	if err := os.RemoveAll(output); err != nil {
		return err
	}
	if err := os.MkdirAll(output, 0o755); err != nil {
		return err
	}
	var text strings.Builder
	for _, group := range schedule {
		fmt.Fprintf(&text, "test: %s\n", strings.Join(group, " "))
	}
	path := filepath.Join(output, "schedule")
	if err := os.WriteFile(path, []byte(text.String()), 0o644); err != nil {
		return err
	}
	if err := give(output); err != nil {
		return err
	}
	cmd := s.command(ctx, program, append(args, "--use-existing", "--host=127.0.0.1", "--port="+strconv.Itoa(port), "--user=postgres",
		"--dbname="+database, "--outputdir="+output, "--schedule="+path)...)
	cmd.Dir = output
	// How long isolationtester waits for a step before it cancels it, in seconds: what a refused cancel leaves waiting.
	cmd.Env = append(cmd.Env, "PGISOLATIONTIMEOUT=30")
	var said bytes.Buffer
	cmd.Stdout = io.MultiWriter(&said, s.progress())
	cmd.Stderr = cmd.Stdout
	err := cmd.Run()
	out := said.Bytes()
	if werr := os.WriteFile(filepath.Join(output, "said"), out, 0o644); werr != nil {
		return werr
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if !ran.Match(out) {
		return fmt.Errorf("%s: %w: %s", filepath.Base(program), err, out)
	}
	return nil
}

// ran is how pg_regress ends when it came to the end of its schedule.
var ran = regexp.MustCompile(`(?m)^ (All [0-9]+|[0-9]+ of [0-9]+) tests (passed|failed)|tests (passed|failed)`)

// differ compares a script's output in two folders of results, but for the folders' own names.
func (b *bench) differ(test, direct, through string) (bool, error) {
	read := func(name string) (string, error) {
		folder := filepath.Join(b.folder, name)
		text, err := os.ReadFile(filepath.Join(folder, "results", test+".out"))
		if os.IsNotExist(err) {
			return "(no output)", nil
		}
		return strings.ReplaceAll(string(text), folder, "OUTPUT"), err
	}
	one, err := read(direct)
	if err != nil {
		return false, err
	}
	other, err := read(through)
	return one != other, err
}

// names are a schedule's scripts.
func names(schedule [][]string) []string {
	all := make(map[string]struct{})
	for _, group := range schedule {
		for _, name := range group {
			all[name] = struct{}{}
		}
	}
	return slices.Sorted(maps.Keys(all))
}
