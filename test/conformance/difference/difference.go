// Package difference judges suites that ran twice, past the sidecar and through it: what differs has to stand on a list
// with its reason, and what is listed has to differ.
package difference

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"
)

// Result is how a test went.
type Result struct {
	// Differs says that its output through the sidecar was not the one past it.
	Differs bool
	// Refusals are the sidecar's own messages to it.
	Refusals map[string]struct{}
}

// Report is a suite's results by the tests' names.
type Report map[string]Result

// List holds the differences that are known: a test's reasons, each the text of what the sidecar refuses it, or
// words of ours behind a "!" where nothing was refused.
type List map[string][]string

// Read reads the differences of a suite from the file lists/SUITE.txt: a test's name, a colon, and one reason, a line
// each; empty lines and those behind a # are for people.
func Read(lists fs.FS, suite string) (List, error) {
	text, err := fs.ReadFile(lists, "lists/"+suite+".txt")
	if err != nil {
		return nil, err
	}
	return parse(string(text))
}

func parse(text string) (List, error) {
	out := make(List)
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		test, reason, ok := strings.Cut(line, ": ")
		if reason = strings.TrimSpace(reason); !ok || reason == "" || reason == "!" {
			return nil, fmt.Errorf("the line %q gives no reason", line)
		}
		if slices.Contains(out[test], reason) {
			return nil, fmt.Errorf("the line %q stands twice", line)
		}
		out[test] = append(out[test], reason)
	}
	return out, nil
}

// Judge compares results with the list, prints a line of figures, and returns what does not hold. Partial runs leave
// listed tests out.
func (r Report) Judge(w io.Writer, suite string, listed List, partial bool) []error {
	var failures []error
	fail := func(format string, args ...any) { failures = append(failures, fmt.Errorf(suite+"/"+format, args...)) }
	same, differ := 0, 0
	for _, test := range slices.Sorted(maps.Keys(r)) {
		result, reasons := r[test], listed[test]
		if result.Differs {
			differ++
		} else {
			same++
		}
		own := 0
		for _, reason := range reasons {
			if strings.HasPrefix(reason, "!") {
				own++
			} else if _, ok := result.Refusals[reason]; !ok {
				fail("%s: listed, but not refused: %s", test, reason)
			}
		}
		for _, refusal := range slices.Sorted(maps.Keys(result.Refusals)) {
			if !slices.Contains(reasons, refusal) {
				fail("%s: refused, but not listed: %s", test, refusal)
			}
		}
		switch {
		case result.Differs && len(reasons) == 0 && len(result.Refusals) == 0:
			fail("%s: differs, nothing was refused, and it is not listed", test)
		case !result.Differs && own > 0:
			fail("%s: listed, but it does not differ", test)
		}
	}
	if !partial {
		for _, test := range slices.Sorted(maps.Keys(listed)) {
			if _, ok := r[test]; !ok {
				fail("%s: listed, but there is no such test", test)
			}
		}
	}
	if len(r) == 0 {
		failures = append(failures, errors.New(suite+": no test ran"))
	}
	fmt.Fprintf(w, "%s: %d tests, %d the same as direct, %d differ\n", suite, len(r), same, differ)
	return failures
}
