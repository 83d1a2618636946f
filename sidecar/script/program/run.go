package program

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"

	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/interp"
	"mvdan.cc/sh/v3/syntax"

	"github.com/chaperone-dev/chaperone/sidecar/script/wire"
)

const (
	// maxVariables bounds what a program's variables hold together, in bytes: one statement can make of them no more than
	// the product of that and its own length.
	maxVariables = 64 << 10
	// maxSteps bounds statements and commands, maxWords the bytes of all words that commands were given.
	maxSteps = 10000
	maxWords = 16 << 20
	// maxFrames bounds how deep functions call functions, in frames of this program's own stack.
	maxFrames = 2000
)

// Refusal says why a program is not run, or not further.
type Refusal struct{ Why string }

func (r *Refusal) Error() string { return r.Why }

// Command is one command that a program came to.
type Command struct {
	// Argv are its words, as they were made. Variables that the program exports stand before them as words of env(1).
	Argv []string
	// Dir is where it runs: empty for the user's home, absolute, or relative to the home and beginning with ./
	Dir            string
	Stdin          io.Reader // never nil
	Stdout, Stderr io.Writer
}

// Options say what a program is connected to.
type Options struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	// Exec carries a command out and returns its exit status; an error ends the program. It may be called by several
	// goroutines at once (pipes).
	Exec func(context.Context, Command) (uint8, error)
}

// builtins are those that touch nothing but the program's own state. Any other of the interpreter is refused.
var builtins = map[string]bool{
	":": true, "true": true, "false": true, "echo": true, "printf": true, "test": true, "[": true, "exit": true,
	"set": true, "shift": true, "unset": true, "read": true, "return": true, "break": true, "continue": true,
	"cd": true, // which asks by stat
}

type run struct {
	opts Options
	base expand.Environ
	stop context.CancelCauseFunc

	mu    sync.Mutex // guards what follows
	steps int
	words int
	// lines are inputs that the program itself reads line by line: no command may take the rest.
	lines map[io.Reader]bool
}

// Run runs a program to its end and returns its exit status. An error is a *Refusal, Exec's or ctx's.
func Run(ctx context.Context, text string, opts Options) (status uint8, err error) {
	file, err := parse(text)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	// What is set here would be asked of this machine otherwise. TMPDIR is where process substitution would be.
	r := &run{opts: opts, stop: cancel, base: expand.ListEnviron("HOME=", "UID=", "EUID=", "GID=", "TMPDIR=/\x01"), lines: map[io.Reader]bool{}}
	if opts.Stdin == nil {
		opts.Stdin = strings.NewReader("")
	}
	runner, err := interp.New(
		interp.Env(r.base),
		func(in *interp.Runner) error { in.Dir = home; return nil }, // interp.Dir looks at the directory
		interp.StdIO(opts.Stdin, opts.Stdout, quiet{ctx, opts.Stderr}),
		// What the server would have set is not known here: `rm -r "$DIR/x"` must not become rm -r /x.
		interp.Params("-u"),
		interp.CallHandler(r.call),
		interp.ExecHandlers(func(interp.ExecHandlerFunc) interp.ExecHandlerFunc { return r.exec }),
		interp.OpenHandler(r.open),
		interp.ReadDirHandler2(func(_ context.Context, path string) ([]fs.DirEntry, error) {
			return nil, r.refuse("patterns of file names are not available (" + path + "); quote them to mean the characters")
		}),
		interp.StatHandler(r.stat),
		interp.AccessHandler(func(context.Context, string, interp.AccessMode) error { return nil }),
	)
	if err != nil {
		return 0, fmt.Errorf("starting the interpreter: %w", err)
	}
	err = runner.Run(ctx, file)
	if cause := context.Cause(ctx); cause != nil {
		return 0, cause
	}
	var exit interp.ExitStatus
	if errors.As(err, &exit) {
		return uint8(exit), nil
	}
	return 0, err
}

// Check says why a text would not be run at all: a *Refusal, or nil.
func Check(text string) error {
	_, err := parse(text)
	return err
}

func parse(text string) (*syntax.File, error) {
	if len(text) > wire.MaxText || strings.ContainsRune(text, 0) {
		return nil, &Refusal{fmt.Sprintf("the program has more than %d bytes, or a NUL byte", wire.MaxText)}
	}
	file, err := syntax.NewParser(syntax.Variant(syntax.LangBash)).Parse(strings.NewReader(text), "bash")
	if err != nil {
		return nil, &Refusal{err.Error()}
	}
	if err := check(file); err != nil {
		return nil, err
	}
	count(file)
	return file, nil
}

// quiet keeps the interpreter from saying what the caller is told.
type quiet struct {
	ctx context.Context
	to  io.Writer
}

// Write implements io.Writer.
func (q quiet) Write(p []byte) (int, error) {
	if q.ctx.Err() != nil {
		return len(p), nil //nolint:nilerr // it is said elsewhere
	}
	return q.to.Write(p)
}

// refuse ends the program whatever the interpreter makes of the error.
func (r *run) refuse(why string) error {
	err := &Refusal{why}
	r.stop(err)
	return err
}

// call stands before every command, function and builtin.
func (r *run) call(ctx context.Context, args []string) ([]string, error) {
	if runtime.Callers(maxFrames, make([]uintptr, 1)) > 0 {
		return nil, r.refuse("the program is nested too deeply")
	}
	size, held := 0, 0
	for _, a := range args {
		size += len(a)
	}
	interp.HandlerCtx(ctx).Env.Each(func(name string, v expand.Variable) bool {
		held += len(name) + len(v.Str)
		for _, s := range v.List {
			held += len(s) + 16
		}
		for k, s := range v.Map {
			held += len(k) + len(s) + 16
		}
		return true
	})
	r.mu.Lock()
	r.steps++
	r.words += size
	over := r.steps > maxSteps || r.words > maxWords
	r.mu.Unlock()
	switch name := args[0]; {
	case over:
		return nil, r.refuse(fmt.Sprintf("the program takes more than %d steps or %d bytes of words", maxSteps, maxWords))
	case held > maxVariables:
		return nil, r.refuse(fmt.Sprintf("the program's variables hold more than %d bytes", maxVariables))
	case name == tick:
		return args, nil
	case servers(args):
		if name == "[" {
			if args[len(args)-1] != "]" {
				return args, nil // the builtin says so
			}
			args = args[:len(args)-1]
			args[0] = "test"
		}
		return slices.Concat([]string{there}, args), nil
	case name == "cd":
		if why := wrongFolder(args[1:]); why != "" {
			return nil, r.refuse(why)
		}
	case interp.IsBuiltin(name) && !builtins[name]:
		return nil, r.refuse(name + " is not available")
	case (name == "test" || name == "[") && slices.Contains(args, "-t"):
		return nil, r.refuse("test -t is not available")
	case name == "set" && sets(args[1:], "+u", "nounset"):
		return nil, r.refuse("set +u is not available: what the server has set is not known here")
	case name == "set" && sets(args[1:], "-x", "xtrace"):
		return nil, r.refuse("set -x is not available: each command is recorded")
	case name == "printf" && len(args) > 1 && strings.HasPrefix(args[1], "-v"):
		return nil, r.refuse("printf -v is not available")
	case name == "read":
		if in := interp.HandlerCtx(ctx).Stdin; in != nil {
			r.mu.Lock()
			r.lines[in] = true
			r.mu.Unlock()
		}
	case name == "printf" && len(args) > 1 && wide(args[1]):
		return nil, r.refuse("printf with a width of more than three digits, or *, is not available")
	}
	return args, nil
}

// sets says that the arguments of set name an option, by its flag or its long name, turned on or off.
func sets(args []string, flag, long string) bool {
	for _, a := range args {
		switch {
		case a == long, len(a) > 1 && a[0] == flag[0] && strings.Contains(a, flag[1:]):
			return true
		case a == "--":
			return false
		}
	}
	return false
}

// wide says that a format could make much of little.
func wide(format string) bool {
	digits := 0
	for _, c := range format {
		if c < '0' || c > '9' {
			digits = 0
		} else if digits++; digits > 3 {
			return true
		}
	}
	return strings.Contains(format, "*")
}

// exec hands a command to the caller.
func (r *run) exec(ctx context.Context, args []string) error {
	if args[0] == tick {
		if n, err := strconv.ParseUint(args[1], 10, 8); err == nil && n != 0 {
			return interp.ExitStatus(n)
		}
		return nil
	}
	h := interp.HandlerCtx(ctx)
	if args[0] == there {
		args = args[1:]
	}
	argv := args
	var set []string
	h.Env.Each(func(name string, v expand.Variable) bool {
		if was := r.base.Get(name); v.Exported && v.Set && (!was.IsSet() || was.String() != v.String()) {
			set = append(set, name+"="+v.String())
		}
		return true
	})
	if len(set) > 0 {
		slices.Sort(set)
		argv = slices.Concat([]string{"env"}, set, args)
	}
	var stdin io.Reader = strings.NewReader("")
	r.mu.Lock()
	if h.Stdin != nil && !r.lines[h.Stdin] {
		stdin = h.Stdin
	}
	r.mu.Unlock()
	status, err := r.opts.Exec(ctx, Command{Argv: argv, Dir: folder(h.Dir), Stdin: stdin, Stdout: h.Stdout, Stderr: h.Stderr})
	if err != nil {
		r.stop(err)
		return err
	}
	if status != 0 {
		return interp.ExitStatus(status)
	}
	return nil
}

// open knows one file.
func (r *run) open(_ context.Context, path string, _ int, _ os.FileMode) (io.ReadWriteCloser, error) {
	if path != "/dev/null" {
		return nil, r.refuse("redirections to files are not available (" + path + ")")
	}
	return nothing{}, nil
}

type nothing struct{}

func (nothing) Read([]byte) (int, error)    { return 0, io.EOF }
func (nothing) Write(p []byte) (int, error) { return len(p), nil }
func (nothing) Close() error                { return nil }
