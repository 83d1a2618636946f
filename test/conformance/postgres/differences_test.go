package main

import (
	"errors"
	"io"
	"strings"
	"testing"
)

func TestParseList(t *testing.T) {
	tests := map[string]struct{ text, want string }{
		"a reason for each line":             {"# all\n\na: x refused: y\na: z\nb: ! because\n", ""},
		"a test without a reason is refused": {"a:\n", "gives no reason"},
		"an empty reason of ours is refused": {"a: !\n", "gives no reason"},
		"the same line twice is refused":     {"a: x\na: x\n", "stands twice"},
		"the lists of all suites are lists":  {"", ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := parseList(test.text)
			if got := errorText(err); (test.want == "") != (got == "") || !strings.Contains(got, test.want) {
				t.Fatalf("got %q, want %q", got, test.want)
			}
		})
	}
	for _, s := range suites {
		if _, err := readList(s.name); err != nil {
			t.Errorf("%s: %v", s.name, err)
		}
	}
}

func TestJudge(t *testing.T) {
	refused := func(messages ...string) map[string]struct{} {
		out := make(map[string]struct{})
		for _, m := range messages {
			out[m] = struct{}{}
		}
		return out
	}
	tests := map[string]struct {
		report  report
		list    string
		partial bool
		want    string
	}{
		"the same and not listed is well":                {report: report{"a": {}}},
		"different and listed by a refusal is well":      {report: report{"a": {true, refused("no")}}, list: "a: no"},
		"different and listed in words of ours is well":  {report: report{"a": {true, nil}}, list: "a: ! because"},
		"different and not listed fails":                 {report: report{"a": {true, nil}}, want: "not listed"},
		"a refusal that is not listed fails":             {report: report{"a": {true, refused("no", "never")}}, list: "a: no", want: "refused, but not listed: never"},
		"a listed refusal that does not come fails":      {report: report{"a": {true, refused("no")}}, list: "a: no\na: never", want: "listed, but not refused: never"},
		"listed in words of ours and the same fails":     {report: report{"a": {}}, list: "a: ! because", want: "does not differ"},
		"a listed test that is not there fails":          {report: report{"a": {}}, list: "b: ! because", want: "no such test"},
		"but not where only some were to run":            {report: report{"a": {}}, list: "b: ! because", partial: true},
		"a suite in which nothing ran fails":             {want: "no test ran"},
		"a refusal that did not show in what is printed": {report: report{"a": {false, refused("no")}}, list: "a: no"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			listed, err := parseList(test.list)
			if err != nil {
				t.Fatal(err)
			}
			got := errorText(errors.Join(test.report.judge(io.Discard, "suite", listed, test.partial)...))
			if (test.want == "") != (got == "") || !strings.Contains(got, test.want) {
				t.Fatalf("got %q, want %q", got, test.want)
			}
		})
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
