package main

import (
	"embed"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// result is how a test went.
type result struct {
	// differs says that its output through the sidecar was not the one past it.
	differs bool
	// refusals are the sidecar's own messages to it.
	refusals map[string]struct{}
}

// report is a suite's results by the tests' names.
type report map[string]result

//go:embed lists
var lists embed.FS

// list holds the differences that are known: a test's reasons, each the text of what the sidecar refuses it, or
// words of ours behind a "!" where nothing was refused.
type list map[string][]string

// readList reads the differences of a suite: a test's name, a colon, and one reason, a line each; empty lines and
// those behind a # are for people.
func readList(suite string) (list, error) {
	text, err := lists.ReadFile("lists/" + suite + ".txt")
	if err != nil {
		return nil, err
	}
	return parseList(string(text))
}

func parseList(text string) (list, error) {
	out := make(list)
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

// judge compares results with the list and says what does not hold. partial runs leave listed tests out.
func (r report) judge(w io.Writer, suite string, listed list, partial bool) []error {
	var failures []error
	fail := func(format string, args ...any) { failures = append(failures, fmt.Errorf(suite+"/"+format, args...)) }
	same, differ := 0, 0
	for _, test := range slices.Sorted(maps.Keys(r)) {
		result, reasons := r[test], listed[test]
		if result.differs {
			differ++
		} else {
			same++
		}
		own := 0
		for _, reason := range reasons {
			if strings.HasPrefix(reason, "!") {
				own++
			} else if _, ok := result.refusals[reason]; !ok {
				fail("%s: listed, but not refused: %s", test, reason)
			}
		}
		for _, refusal := range slices.Sorted(maps.Keys(result.refusals)) {
			if !slices.Contains(reasons, refusal) {
				fail("%s: refused, but not listed: %s", test, refusal)
			}
		}
		switch {
		case result.differs && len(reasons) == 0 && len(result.refusals) == 0:
			fail("%s: differs, nothing was refused, and it is not listed", test)
		case !result.differs && own > 0:
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
