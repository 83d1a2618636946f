package process

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"strings"
	"syscall"
)

// Options are the flags of every benchmark.
type Options struct {
	Rounds  int
	Short   bool           // one small round
	Run     *regexp.Regexp // cases whose name matches it are measured
	Out     string         // file for the table, as Markdown; empty for none
	Profile string         // file for the sidecar's CPU profile; empty for none
}

// Main reads the flags, among them those that the caller has defined, runs the benchmark until it ends or is interrupted,
// and prints the table that it returns.
func Main(rounds int, bench func(context.Context, *Options) (string, error)) {
	o, pattern := &Options{}, ""
	flag.IntVar(&o.Rounds, "rounds", rounds, "rounds of each case")
	flag.BoolVar(&o.Short, "short", false, "one short round, to see that everything works")
	flag.StringVar(&pattern, "run", "", "measure only the cases whose name matches this expression")
	flag.StringVar(&o.Out, "o", "", "also write the table to this file, as Markdown")
	flag.StringVar(&o.Profile, "profile", "", "write the sidecar's CPU profile to this file")
	flag.Parse()
	if o.Short {
		o.Rounds = 1
	}
	if err := o.main(pattern, bench); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func (o *Options) main(pattern string, bench func(context.Context, *Options) (string, error)) error {
	var err error
	if o.Run, err = regexp.Compile(pattern); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	text, err := bench(ctx, o)
	if err != nil {
		return err
	}
	fmt.Print(text)
	if o.Out == "" {
		return nil
	}
	return os.WriteFile(o.Out, []byte(text), 0o644)
}

// Command is how the benchmark in test/bench/NAME was started.
func Command(name string) string {
	return strings.TrimSpace("go run ./test/bench/" + name + " " + strings.Join(os.Args[1:], " "))
}
