package main

import (
	"context"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"

	"github.com/chaperone-dev/chaperone/test/environment"
)

// story prints what happens as it happens, and fails where something did not show what it should.
type story struct {
	env *environment.Environment
	out io.Writer
}

// failure is a step that did not show what it should.
type failure struct{ reason string }

func (f failure) Error() string { return f.reason }

func (s *story) chapter(title string) {
	fmt.Fprintf(s.out, "\n── %s %s\n", title, strings.Repeat("─", max(0, 92-len(title))))
}

func (s *story) sayf(format string, args ...any) {
	fmt.Fprintf(s.out, "\n   %s\n\n", strings.ReplaceAll(fmt.Sprintf(format, args...), "\n", "\n   "))
}

// show prints a command as somebody typed it, and what it printed.
func (s *story) show(who, command, output string) {
	fmt.Fprintf(s.out, "%s$ %s\n", who, command)
	if output = strings.TrimRight(output, "\n"); output != "" {
		fmt.Fprintln(s.out, output)
	}
}

// kubectl runs kubectl as the administrator and shows it; it must succeed and print every expected expression.
func (s *story) kubectl(ctx context.Context, args []string, expected ...string) (string, error) {
	result, err := s.env.Kubectl(ctx, args...)
	s.show("admin", "kubectl "+quoted(args), result.Output)
	if err != nil {
		return "", failure{fmt.Sprintf("the command ended with status %d", result.Code)}
	}
	return result.Output, expect(result.Output, expected...)
}

// psql is the agent running psql in its own container, with no password anywhere. Each statement is one -c; all
// of them run in one session.
func (s *story) psql(ctx context.Context, statements ...string) (environment.Result, error) {
	args := []string{"exec", "-n", "agents", "deploy/billing-agent", "-c", "agent", "--", "psql", "-X",
		"host=" + databaseHost + " dbname=billing user=agent sslmode=verify-full"}
	for _, statement := range statements {
		args = append(args, "-c", statement)
	}
	return s.env.Kubectl(ctx, args...)
}

// agent shows the agent running statements; what it read must hold every expected expression.
func (s *story) agent(ctx context.Context, statements []string, expected ...string) (string, error) {
	result, _ := s.psql(ctx, statements...) // psql's status is that of its last statement, and some are refused
	s.show("agent", psqlLine(statements), strings.ReplaceAll(result.Output, "command terminated with exit code 1\n", ""))
	return result.Output, expect(result.Output, expected...)
}

func psqlLine(statements []string) string {
	var line strings.Builder
	line.WriteString("psql 'host=" + databaseHost + " dbname=billing user=agent sslmode=verify-full'")
	for _, statement := range statements {
		line.WriteString(" \\\n         -c \"" + statement + "\"")
	}
	return line.String()
}

// expect checks that every expression is found, and that none of those that begin with "!" is.
func expect(output string, expressions ...string) error {
	for _, expression := range expressions {
		wanted, unwanted := strings.CutPrefix(expression, "!")
		if !unwanted {
			wanted = expression
		}
		found := regexp.MustCompile(wanted).MatchString(output)
		switch {
		case unwanted && found:
			return failure{fmt.Sprintf("the output above shows %q and must not", wanted)}
		case !unwanted && !found:
			return failure{fmt.Sprintf("the output above does not show %q", wanted)}
		}
	}
	return nil
}

// eventually tries until ok or the time is over.
func eventually(ctx context.Context, limit time.Duration, what string, try func() (bool, error)) error {
	deadline := time.Now().Add(limit)
	for {
		done, err := try()
		if done {
			return nil
		}
		if time.Now().After(deadline) {
			if err != nil {
				return failure{fmt.Sprintf("%s did not happen within %s: %v", what, limit, err)}
			}
			return failure{fmt.Sprintf("%s did not happen within %s", what, limit)}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(300 * time.Millisecond):
		}
	}
}

func quoted(args []string) string {
	words := make([]string, len(args))
	for i, arg := range args {
		words[i] = arg
		if strings.ContainsAny(arg, " {}'\"*?$;|&") {
			words[i] = "'" + strings.ReplaceAll(arg, "'", `'\''`) + "'"
		}
	}
	return strings.Join(words, " ")
}
