package difference

import (
	"errors"
	"io"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	tests := map[string]struct{ text, want string }{
		"a reason for each line":             {"# all\n\na: x refused: y\na: z\nb: ! because\n", ""},
		"a test without a reason is refused": {"a:\n", "gives no reason"},
		"an empty reason of ours is refused": {"a: !\n", "gives no reason"},
		"the same line twice is refused":     {"a: x\na: x\n", "stands twice"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := parse(test.text)
			if got := errorText(err); (test.want == "") != (got == "") || !strings.Contains(got, test.want) {
				t.Fatalf("got %q, want %q", got, test.want)
			}
		})
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
		report  Report
		list    string
		partial bool
		want    string
	}{
		"the same and not listed is well":                {report: Report{"a": {}}},
		"different and listed by a refusal is well":      {report: Report{"a": {true, refused("no")}}, list: "a: no"},
		"different and listed in words of ours is well":  {report: Report{"a": {true, nil}}, list: "a: ! because"},
		"different and not listed fails":                 {report: Report{"a": {true, nil}}, want: "not listed"},
		"a refusal that is not listed fails":             {report: Report{"a": {true, refused("no", "never")}}, list: "a: no", want: "refused, but not listed: never"},
		"a listed refusal that does not come fails":      {report: Report{"a": {true, refused("no")}}, list: "a: no\na: never", want: "listed, but not refused: never"},
		"listed in words of ours and the same fails":     {report: Report{"a": {}}, list: "a: ! because", want: "does not differ"},
		"a listed test that is not there fails":          {report: Report{"a": {}}, list: "b: ! because", want: "no such test"},
		"but not where only some were to run":            {report: Report{"a": {}}, list: "b: ! because", partial: true},
		"a suite in which nothing ran fails":             {want: "no test ran"},
		"a refusal that did not show in what is printed": {report: Report{"a": {false, refused("no")}}, list: "a: no"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			listed, err := parse(test.list)
			if err != nil {
				t.Fatal(err)
			}
			got := errorText(errors.Join(test.report.Judge(io.Discard, "suite", listed, test.partial)...))
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
