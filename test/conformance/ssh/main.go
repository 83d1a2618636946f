// Command ssh runs OpenSSH's own regression scripts, and clients that people use, twice: past the sidecar and through
// it, under a policy that allows everything and masks nothing. What differs has to stand, with its reason, on the lists
// in the folder lists; what is listed has to differ.
//
//	go run ./test/conformance/ssh -suites regress -only transfer,forwarding
//
// Everything runs in a network, a mount and a process namespace of its own.
package main

import (
	"embed"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/chaperone-dev/chaperone/test/conformance/difference"
)

//go:embed lists
var lists embed.FS

// suites in the order in which they run.
var suites = []struct {
	name string
	run  func(*bench) (difference.Report, error)
}{
	{"clients", runClients},
	{"regress", runRegress},
	{"pkgsftp", runPkgSFTP},
}

// bench is what suites run on.
type bench struct {
	installation *installation
	folder       string // for what a suite writes
	only         []string
	// pkgSFTPFolder is where the tests of pkg/sftp are.
	pkgSFTPFolder string
}

// The program is also what runs inside the namespaces, and sshd for the scripts.
const (
	insideVerb = "inside"
	sshdVerb   = "sshd"
	frontVerb  = "front"
)

func main() {
	var err error
	verb := ""
	if len(os.Args) > 1 {
		verb = os.Args[1]
	}
	switch verb {
	case insideVerb:
		err = conform(os.Args[2:])
	case sshdVerb:
		err = actAsSshd(os.Args[2:])
	case frontVerb:
		err = actAsFront(os.Args[2:])
	default:
		// The packages have to be there before the network is gone.
		if _, err = install(); err == nil {
			_, err = buildPkgSFTP()
		}
		if err == nil {
			err = enter(os.Args[1:])
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func conform(args []string) error {
	flags := flag.NewFlagSet("ssh", flag.ExitOnError)
	chosen := flags.String("suites", "clients,regress,pkgsftp", "the suites to run")
	keep := flags.String("keep", "", "a folder to leave outputs in; default: a temporary one, removed")
	only := flags.String("only", "", "of the suites, the tests with these names")
	_ = flags.Parse(args)
	in, err := install()
	if err != nil {
		return err
	}
	tests, err := buildPkgSFTP()
	if err != nil {
		return err
	}
	if err := settle(); err != nil {
		return err
	}
	b := &bench{installation: in, folder: *keep, pkgSFTPFolder: tests}
	if *keep == "" {
		if b.folder, err = os.MkdirTemp("", "chaperone-conformance-"); err != nil {
			return err
		}
		defer os.RemoveAll(b.folder)
	} else if b.folder, err = filepath.Abs(*keep); err != nil {
		return err
	}
	if err := os.MkdirAll(b.folder, 0o755); err != nil {
		return err
	}
	if err := os.Chmod(b.folder, 0o755); err != nil {
		return err
	}
	if *only != "" {
		b.only = strings.Split(*only, ",")
	}
	var failures []error
	for _, s := range suites {
		if !slices.Contains(strings.Split(*chosen, ","), s.name) {
			continue
		}
		begin := time.Now()
		r, err := s.run(b)
		if err != nil {
			failures = append(failures, fmt.Errorf("%s: %w", s.name, err))
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

// wants says whether a test is to run.
func (b *bench) wants(name string) bool { return b.only == nil || slices.Contains(b.only, name) }
