package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"

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
	if len(os.Args) > 1 && os.Args[1] == sidecarVerb {
		if err := serve(); err != nil {
			fmt.Fprintln(os.Stderr, "sidecar:", err)
			os.Exit(1)
		}
		return
	}
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
		err = bench(&o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// bench sets everything up, runs the cases and writes the table.
func bench(o *options) (err error) {
	l, err := newLab(o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	text := heading(o)
	for _, c := range cases {
		if !o.run.MatchString(c.name) {
			continue
		}
		r, err := l.measure(c, o)
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		fmt.Fprintln(os.Stderr, r)
		text += r + "\n"
	}
	if o.run.MatchString("memory") {
		memory, err := l.memory(o)
		if err != nil {
			return fmt.Errorf("memory: %w", err)
		}
		text += "\n" + memory + "\n"
	}
	fmt.Print(text)
	if o.out == "" {
		return nil
	}
	return os.WriteFile(o.out, []byte(text), 0o644)
}

func heading(o *options) string {
	command := strings.TrimSpace("go run ./test/bench/ssh " + strings.Join(os.Args[1:], " "))
	return fmt.Sprintf("%s; %d rounds; `%s`\n\n", process.Machine(), o.rounds, command) +
		"| case | direct, median | sidecar, median | **sidecar / direct** | sidecar's CPU | peak RSS, MiB |\n|---|---:|---:|---:|---:|---:|\n"
}
