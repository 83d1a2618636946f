package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/chaperone-dev/chaperone/test/bench/process"
)

// options are the command's flags.
type options struct {
	*process.Options
	turn   time.Duration
	second string
	// goroutines has the sidecar run its sessions by goroutines instead of its event loop.
	goroutines bool
}

func main() {
	var o options
	flag.DurationVar(&o.turn, "turn", 1200*time.Millisecond, "how long a peer works in one round")
	flag.StringVar(&o.second, "peer", "", "another proxy to the same server, NAME=PORT on 127.0.0.1; started when the server's port is printed")
	flag.BoolVar(&o.goroutines, "goroutines", false, "have the sidecar run its sessions by goroutines, not in its event loop")
	process.Main(3, func(ctx context.Context, common *process.Options) (string, error) {
		o.Options = common
		if o.Short {
			o.turn = 300 * time.Millisecond
		}
		return measure(ctx, &o)
	})
}

// measure sets everything up, runs the cases and returns the table.
func measure(ctx context.Context, o *options) (text string, err error) {
	lab, err := newLab(ctx, o)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, lab.close()) }()
	var results []result
	for _, c := range cases {
		if !o.Run.MatchString(c.name()) {
			continue
		}
		r, err := lab.measure(ctx, c, o)
		if err != nil {
			return "", fmt.Errorf("%s: %w", c.name(), err)
		}
		results = append(results, r)
		fmt.Fprintln(os.Stderr, r.line(lab.second))
	}
	if len(results) == 0 {
		return "", errors.New("no case has such a name")
	}
	return table(results, lab.second, heading(o, lab)), nil
}

// heading says what ran where.
func heading(o *options, l *lab) string {
	return fmt.Sprintf("%s; PostgreSQL %d, %s; %d rounds of %s a peer; `%s`\n", process.Machine(), l.server.Major, l.bouncerVersion, o.Rounds, o.turn, process.Command("postgres"))
}
