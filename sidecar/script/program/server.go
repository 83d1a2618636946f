package program

import (
	"context"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"
)

// there stands before the words of a builtin that means the server, and so is a command like any other. No program can
// say it.
const there = "\x00there"

// home stands for the user's home, of which the program does not know the name. No path can hold a NUL byte.
const home = "/\x00home"

// servers says that the words are of a builtin that asks about files or processes, which are the server's.
func servers(args []string) bool {
	switch args[0] {
	case "pwd", "kill":
		return true
	case "command":
		return len(args) > 1 && (args[1] == "-v" || args[1] == "-V")
	case "test", "[":
		return len(args) > 2 && args[1] == "-a" || slices.ContainsFunc(args[1:], func(a string) bool {
			switch a {
			case "-b", "-c", "-d", "-e", "-f", "-g", "-G", "-h", "-k", "-L", "-N", "-O", "-p", "-r", "-s", "-S", "-u", "-w", "-x", "-nt", "-ot", "-ef":
				return true
			}
			return false
		})
	}
	return false
}

// wrongFolder says why cd cannot be told where to go.
func wrongFolder(args []string) string {
	switch {
	case len(args) != 1 || args[0] == "" || args[0][0] == '-':
		return "cd without one folder, or with an option, is not available"
	case slices.Contains(strings.Split(args[0], "/"), ".."):
		return "cd with .. is not available; write the path without"
	}
	return ""
}

// folder is how a command is told where it runs.
func folder(dir string) string {
	switch rest, below := strings.CutPrefix(dir, home); {
	case !below:
		return dir
	case rest == "":
		return ""
	default:
		return "." + rest // which CDPATH has no say in
	}
}

// stat is asked by cd alone: whether the server lets a command go there.
func (r *run) stat(ctx context.Context, path string, _ bool) (fs.FileInfo, error) {
	to := folder(path)
	if to == "" {
		to = "." // every command begins there
	}
	status, err := r.opts.Exec(ctx, Command{Argv: []string{"cd", to}, Stdin: strings.NewReader(""), Stdout: io.Discard, Stderr: io.Discard})
	if err != nil {
		r.stop(err)
		return nil, err
	}
	if status != 0 {
		return nil, &fs.PathError{Op: "cd", Path: path, Err: os.ErrNotExist}
	}
	return isFolder{}, nil
}

// isFolder is what is known of where cd went.
type isFolder struct{}

func (isFolder) Name() string       { return "" }
func (isFolder) Size() int64        { return 0 }
func (isFolder) Mode() fs.FileMode  { return fs.ModeDir | 0o755 }
func (isFolder) ModTime() time.Time { return time.Time{} }
func (isFolder) IsDir() bool        { return true }
func (isFolder) Sys() any           { return nil }
