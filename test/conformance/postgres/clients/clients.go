// Package clients runs checks of PostgreSQL's drivers for Python (psycopg 3 and psycopg2) and for Java (JDBC) against a
// server, so that the same can be run past the sidecar and through it.
package clients

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

//go:embed *.py *.java
var checks embed.FS

// Client is a driver with its checks.
type Client struct {
	Name    string
	program func(ctx context.Context, folder string) (args, environment []string, err error)
}

// All are the clients that there are.
var All = []Client{
	{"psycopg", python("check_psycopg.py")},
	{"psycopg2", python("check_psycopg2.py")},
	{"jdbc", java("Jdbc.java")},
}

// Server is what checks run against.
type Server struct {
	// Host is the name that the server's certificate proves; Port is on 127.0.0.1. The role postgres comes in without a
	// password and owns the database clients.
	Host string
	Port int
	// AskingPort is where Role has to prove Password by SCRAM, with channel binding if the client takes it; on 127.0.0.1.
	AskingPort     int
	Role, Password string
	// Root is the file of the certificate that clients name as their root, Stranger one that signed nothing.
	Root, Stranger string
	// Overlay is mounted over Root for the client alone, as trust.paths does it in a pod; empty for none.
	Overlay string
	// Libraries is where libpq is.
	Libraries string
}

// limit is how long all checks of a client have; a minute is what they take on a busy machine.
const limit = 10 * time.Minute

// Run runs a client's checks, or only those named, and returns what each saw. As each ends, progress is told.
func (c Client) Run(ctx context.Context, folder string, s Server, only []string, progress io.Writer) (map[string]string, error) {
	if err := os.CopyFS(folder, checks); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, err
	}
	args, environment, err := c.program(ctx, folder)
	if err != nil {
		return nil, fmt.Errorf("getting %s: %w", c.Name, err)
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if s.Overlay != "" {
		// A mount namespace of the client's own; a user's too, where this is not root.
		space := "-m"
		if os.Getuid() != 0 {
			space = "-Urm"
		}
		args = append([]string{"unshare", space, "--propagation", "private", "sh", "-c", `mount --bind "$0" "$1" && shift && exec "$@"`, s.Overlay, s.Root}, args...)
	}
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir = folder
	cmd.Env = append(environment, "CHECK_CLIENT="+c.Name, "CHECK_HOST="+s.Host, fmt.Sprintf("CHECK_PORT=%d", s.Port),
		fmt.Sprintf("CHECK_ASKING_PORT=%d", s.AskingPort), "CHECK_ROLE="+s.Role, "CHECK_PASSWORD="+s.Password, "CHECK_ROOT="+s.Root,
		"CHECK_STRANGER="+s.Stranger, "CHECK_ONLY="+strings.Join(only, ","))
	for i, kv := range cmd.Env {
		if strings.HasPrefix(kv, "LD_LIBRARY_PATH=") {
			cmd.Env[i] += ":" + s.Libraries
		}
	}
	var said, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = io.MultiWriter(&said, progress), &complaints
	cmd.WaitDelay = 10 * time.Second
	err = cmd.Run()
	if werr := os.WriteFile(filepath.Join(folder, c.Name+".complaints"), complaints.Bytes(), 0o644); werr != nil {
		return nil, werr
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %s", c.Name, err, complaints.Bytes())
	}
	out := make(map[string]string)
	for line := range strings.Lines(said.String()) {
		name, saw, ok := strings.Cut(strings.TrimSpace(line), "\t")
		if !ok {
			return nil, fmt.Errorf("%s says %q", c.Name, line)
		}
		out[name] = saw
	}
	return out, nil
}

// Broke tells that what a check saw is that it did not work.
func Broke(saw string) bool { return !strings.HasPrefix(saw, "saw ") }
