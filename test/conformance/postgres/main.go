// Command postgres runs the test suites of PostgreSQL and of its clients twice, past the sidecar and through it,
// under a policy that allows everything and masks nothing. What differs has to stand, with its reason, on the lists
// in the folder lists; what is listed has to differ.
//
//	go run ./test/conformance/postgres -suites regress,isolation
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/chaperone-dev/chaperone/test/conformance/difference"
	"github.com/chaperone-dev/chaperone/test/postgresserver"
)

// suite is what runs on both sides.
type suite struct {
	name string
	run  func(context.Context, *bench) (difference.Report, error)
}

// suites in the order in which they run, the fastest first.
var suites = append(clientSuites(), []suite{
	{"upstreams", runUpstreams},
	{"pipeline", runPipeline},
	{"pq", runPQ},
	{"isolation", runIsolation},
	{"regress", runRegress},
	{"pgx", runPGX},
}...)

// bench is what suites run on.
type bench struct {
	installation *postgresserver.Installation
	folder       string // for what a suite writes
	only         []string
}

func main() {
	if err := conform(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func conform() error {
	names := make([]string, len(suites))
	for i := range suites {
		names[i] = suites[i].name
	}
	chosen := flag.String("suites", strings.Join(names, ","), "the suites to run")
	folder := flag.String("keep", "", "a folder to leave outputs in; default: a temporary one, removed")
	only := flag.String("only", "", "of the suites, the tests with these names and what they need")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	b, done, err := prepare(*folder)
	if err != nil {
		return err
	}
	defer done()
	if *only != "" {
		b.only = strings.Split(*only, ",")
	}
	wanted := strings.Split(*chosen, ",")
	for _, name := range wanted {
		if !slices.Contains(names, name) {
			return fmt.Errorf("no suite %q: there are %s", name, strings.Join(names, ", "))
		}
	}
	var failures []error
	for _, s := range suites {
		if !slices.Contains(wanted, s.name) {
			continue
		}
		begin := time.Now()
		say("", s.name)
		r, err := s.run(ctx, b)
		if err != nil {
			err = fmt.Errorf("%s: %w", s.name, err)
			say("", err.Error())
			failures = append(failures, err)
			continue
		}
		listed, err := difference.Read(lists, s.name)
		if err != nil {
			return err
		}
		failures = append(failures, r.Judge(os.Stdout, s.name, listed, b.only != nil)...)
		fmt.Printf("%s took %s\n", s.name, time.Since(begin).Round(time.Second))
	}
	return errors.Join(failures...)
}

// prepare gets the server's programs and a folder that the server's user can write to.
func prepare(keep string) (b *bench, done func(), err error) {
	in, err := postgresserver.Install()
	if err != nil {
		return nil, nil, fmt.Errorf("getting PostgreSQL: %w", err)
	}
	b = &bench{installation: in}
	done = func() {}
	if keep == "" {
		if b.folder, err = os.MkdirTemp("", "chaperone-conformance-"); err != nil {
			return nil, nil, err
		}
		done = func() { os.RemoveAll(b.folder) }
	} else {
		if b.folder, err = filepath.Abs(keep); err != nil {
			return nil, nil, err
		}
		if err := os.MkdirAll(b.folder, 0o755); err != nil {
			return nil, nil, err
		}
	}
	if err := give(b.folder); err != nil {
		done()
		return nil, nil, err
	}
	return b, done, nil
}
