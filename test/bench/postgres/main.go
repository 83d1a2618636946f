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
	"time"

	"github.com/chaperone-dev/chaperone/test/bench/process"
)

// options are the command's flags.
type options struct {
	rounds  int
	turn    time.Duration
	short   bool
	run     *regexp.Regexp
	out     string
	second  string
	profile string
	// goroutines has the sidecar run its sessions by goroutines instead of its event loop.
	goroutines bool
}

func main() {
	var o options
	pattern := ""
	flag.IntVar(&o.rounds, "rounds", 3, "rounds of each case")
	flag.DurationVar(&o.turn, "turn", 1200*time.Millisecond, "how long a peer works in one round")
	flag.BoolVar(&o.short, "short", false, "one short round, to see that everything works")
	flag.StringVar(&pattern, "run", "", "measure only the cases whose name matches this expression")
	flag.StringVar(&o.out, "o", "", "also write the table to this file, as Markdown")
	flag.StringVar(&o.second, "peer", "", "another proxy to the same server, NAME=PORT on 127.0.0.1; started when the server's port is printed")
	flag.BoolVar(&o.goroutines, "goroutines", false, "have the sidecar run its sessions by goroutines, not in its event loop")
	flag.StringVar(&o.profile, "profile", "", "write the sidecar's CPU profile to this file")
	flag.Parse()
	if o.short {
		o.rounds, o.turn = 1, 300*time.Millisecond
	}
	var err error
	if o.run, err = regexp.Compile(pattern); err == nil {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		err = measure(ctx, &o)
		stop()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// measure sets everything up, runs the cases and writes the table.
func measure(ctx context.Context, o *options) (err error) {
	lab, err := newLab(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lab.close()) }()
	var results []result
	for _, c := range cases {
		if !o.run.MatchString(c.name()) {
			continue
		}
		r, err := lab.measure(ctx, c, o)
		if err != nil {
			return fmt.Errorf("%s: %w", c.name(), err)
		}
		results = append(results, r)
		fmt.Fprintln(os.Stderr, r.line(lab.second))
	}
	if len(results) == 0 {
		return errors.New("no case has such a name")
	}
	text := table(results, lab.second, heading(o, lab))
	fmt.Print(text)
	if o.out == "" {
		return nil
	}
	return os.WriteFile(o.out, []byte(text), 0o644)
}

// heading says what ran where.
func heading(o *options, l *lab) string {
	command := "go run ./test/bench/postgres " + strings.Join(os.Args[1:], " ")
	return fmt.Sprintf("%s; PostgreSQL %d, %s; %d rounds of %s a peer; `%s`\n", process.Machine(), l.server.Major, l.bouncerVersion, o.rounds, o.turn, strings.TrimSpace(command))
}
