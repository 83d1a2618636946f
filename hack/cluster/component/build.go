package component

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/chaperone-dev/chaperone/hack/cluster/folder"
	"github.com/chaperone-dev/chaperone/hack/cluster/progress"
)

// Build makes the components that are not up to date, one after the other: a
// single Kubernetes build already keeps every core busy and takes 2 GB.
func Build(ctx context.Context, f folder.Folder, plan *progress.Plan, components ...Component) error {
	toolchain, err := exec.CommandContext(ctx, "go", "env", "GOVERSION", "GOARCH").Output()
	if err != nil {
		return fmt.Errorf("asking go for its version: %w", err)
	}
	for _, c := range components {
		fingerprint, err := c.fingerprint(f, string(toolchain))
		if err != nil {
			return err
		}
		if c.current(f, fingerprint) {
			plan.Skip()
			continue
		}
		if err := plan.Run(c.Name, c.Expect, func(step *progress.Step) error { return c.build(ctx, f, step) }); err != nil {
			return fmt.Errorf("building %s: %w", c.Name, err)
		}
		if err := writeStamp(f.Stamp(c.stamp()), fingerprint); err != nil {
			return err
		}
	}
	return nil
}

func writeStamp(path, fingerprint string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("noting what was built: %w", err)
	}
	if err := os.WriteFile(path, []byte(fingerprint), 0o644); err != nil {
		return fmt.Errorf("noting what was built: %w", err)
	}
	return nil
}

func (c Component) arguments(output string, verbose bool) []string {
	flags := []string{"-s", "-w"}
	for _, v := range c.Variables {
		flags = append(flags, "-X", v)
	}
	args := []string{"build", "-trimpath", "-buildvcs=false", "-mod=readonly", "-tags", tags, "-ldflags", strings.Join(flags, " ")}
	if verbose {
		args = append(args, "-v")
	}
	if output != "" {
		args = append(args, "-o", output)
	}
	return append(args, c.Packages...)
}

func (c Component) build(ctx context.Context, f folder.Folder, step *progress.Step) error {
	out := filepath.Join(f.Root, c.Folder)
	if err := os.MkdirAll(out, 0o755); err != nil {
		return fmt.Errorf("creating %s: %w", out, err)
	}
	total, err := c.count(ctx, f, step)
	if err != nil {
		return err
	}
	// The trailing separator makes go build put the programs in a folder
	// whatever their number.
	cmd := goCommand(ctx, f, c.arguments(out+string(filepath.Separator), true)...)
	compiled := 0
	if err := watch(cmd, func(line string) bool {
		// -v prints import paths, one a line; all else is a complaint.
		if strings.ContainsAny(line, " :#") {
			return false
		}
		compiled++
		step.Count(compiled, total, "packages compiled")
		return true
	}); err != nil {
		return err
	}
	for _, link := range c.Links {
		if err := relink(c.Program(0), filepath.Join(out, link)); err != nil {
			return err
		}
	}
	return nil
}

func relink(target, path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("replacing %s: %w", path, err)
	}
	if err := os.Symlink(target, path); err != nil {
		return fmt.Errorf("linking %s: %w", path, err)
	}
	return nil
}

// count downloads the modules that are missing, and returns the number of
// packages a build with an empty cache compiles.
func (c Component) count(ctx context.Context, f folder.Folder, step *progress.Step) (int, error) {
	step.Say("resolving modules")
	cmd := goCommand(ctx, f, append([]string{"list", "-deps", "-mod=readonly", "-tags", tags, "-f", "{{.ImportPath}}"}, c.Packages...)...)
	var packages lines
	modules := 0
	cmd.Stdout = &packages
	err := watch(cmd, func(line string) bool {
		if !strings.HasPrefix(line, "go: downloading ") {
			return false
		}
		modules++
		step.Say("%d modules downloaded", modules)
		return true
	})
	return int(packages), err
}

// goCommand runs go where the components are, static and free of what the
// caller's environment would change about the build.
func goCommand(ctx context.Context, f folder.Folder, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = filepath.Join(f.Source, "components")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOFLAGS=")
	return cmd
}

// watch runs a command, hands each line of its standard error to told, and
// puts those that told does not take into the error when the command fails.
func watch(cmd *exec.Cmd, told func(line string) bool) error {
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return fmt.Errorf("starting %s: %w", cmd.Path, err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting %s: %w", cmd.Path, err)
	}
	var other []string
	scanner := bufio.NewScanner(stderr)
	scanner.Buffer(nil, 1<<20)
	for scanner.Scan() {
		if !told(scanner.Text()) {
			other = append(other, scanner.Text())
		}
	}
	if _, err := io.Copy(io.Discard, stderr); err != nil {
		return fmt.Errorf("reading from %s: %w", cmd.Path, err)
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", filepath.Base(cmd.Path), cmd.Args[1], err, strings.Join(other, "\n"))
	}
	return nil
}

// lines counts the lines written to it.
type lines int

func (l *lines) Write(p []byte) (int, error) {
	*l += lines(strings.Count(string(p), "\n"))
	return len(p), nil
}
