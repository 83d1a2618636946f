package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"strings"
	"syscall"

	"github.com/chaperone-dev/chaperone/test/bench/process"
)

// options are the command's flags.
type options struct {
	rounds  int
	short   bool
	run     *regexp.Regexp
	out     string
	profile string
}

func main() {
	var o options
	pattern := ""
	flag.IntVar(&o.rounds, "rounds", 5, "rounds of each case")
	flag.BoolVar(&o.short, "short", false, "one small round, to see that everything works")
	flag.StringVar(&pattern, "run", "", "measure only the cases whose name matches this expression")
	flag.StringVar(&o.out, "o", "", "also write the table to this file, as Markdown")
	flag.StringVar(&o.profile, "profile", "", "write the sidecar's CPU profile to this file")
	flag.Parse()
	if o.short {
		o.rounds = 1
	}
	var err error
	if o.run, err = regexp.Compile(pattern); err == nil {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		err = bench(ctx, &o)
		stop()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// bench sets everything up, runs the cases and writes the table.
func bench(ctx context.Context, o *options) (err error) {
	l, err := newLab(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	command := strings.TrimSpace("go run ./test/bench/kube " + strings.Join(os.Args[1:], " "))
	text := fmt.Sprintf("%s; %d rounds; `%s`\n\n", process.Machine(), o.rounds, command) +
		"| case | direct, median | sidecar, median | **sidecar / direct** | sidecar's CPU | peak RSS, MiB |\n|---|---:|---:|---:|---:|---:|\n"
	ran := 0
	for _, c := range cases {
		if !o.run.MatchString(c.name) {
			continue
		}
		row, err := l.measure(ctx, c, o)
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		fmt.Fprintln(os.Stderr, row)
		text += row + "\n"
		ran++
	}
	if ran == 0 {
		return errors.New("no case has such a name")
	}
	fmt.Print(text)
	if o.out == "" {
		return nil
	}
	return os.WriteFile(o.out, []byte(text), 0o644)
}
