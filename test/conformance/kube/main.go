// Command kube runs what people and programs do to a cluster twice, past the sidecar and through it, under a policy
// that allows everything and masks nothing. What differs has to stand, with its reason, on the lists in the folder
// lists; what is listed has to differ.
//
// It needs a cluster with a kubelet: the one that `make cluster-up` starts, or the one that KUBECONFIG names, with the
// image localhost/chaperone/toolbox:dev on its nodes.
//
//	go run ./test/conformance/kube -suites kubectl,client-go
package main

import (
	"context"
	"embed"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/chaperone-dev/chaperone/test/conformance/difference"
)

//go:embed lists
var lists embed.FS

// suites in the order in which they run.
var suites = []struct {
	name string
	run  func(context.Context, *lab) (difference.Report, error)
}{
	{name: "kubectl", run: runKubectl},
	{name: "kubectl-spdy", run: runKubectlOverSPDY},
	{name: "kubectl-1.28", run: runOldKubectl},
	{name: "client-go", run: runClientGo},
	{name: "python", run: runPython},
	{name: "javascript", run: runJavaScript},
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
	only := flag.String("only", "", "of the suites, the cases whose name holds this text")
	verbose := flag.Bool("v", false, "print what differs where it is listed, too")
	flag.Parse()
	wanted := strings.Split(*chosen, ",")
	for _, name := range wanted {
		if !slices.Contains(names, name) {
			return fmt.Errorf("no suite %q: there are %s", name, strings.Join(names, ", "))
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	l, err := newLab(ctx)
	if err != nil {
		return err
	}
	defer l.close()
	l.only, l.verbose = *only, *verbose
	var failures []error
	for _, s := range suites {
		if !slices.Contains(wanted, s.name) {
			continue
		}
		begin := time.Now()
		listed, err := difference.Read(lists, s.name)
		if err != nil {
			return err
		}
		l.listed = listed
		r, err := s.run(ctx, l)
		if err != nil {
			failures = append(failures, fmt.Errorf("%s: %w", s.name, err))
			continue
		}
		failures = append(failures, r.Judge(os.Stdout, s.name, listed, *only != "")...)
		fmt.Printf("%s took %s\n", s.name, time.Since(begin).Round(time.Second))
	}
	return errors.Join(failures...)
}
