package command

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var (
	repository = filepath.Join("..", "..", "..", "..")
	sample     = filepath.Join(repository, "config", "samples", "billing.yaml")
)

func TestTheDocumentationsCasesComeOutAsItSays(t *testing.T) {
	docs, err := os.ReadFile(filepath.Join(repository, "docs", "plugin.md"))
	if err != nil {
		t.Fatal(err)
	}
	cases := regexp.MustCompile("(?s)```yaml\n(# billing-cases.yaml.*?)```").FindSubmatch(docs)
	shown := regexp.MustCompile("(?s)```\n\\$ kubectl chaperone test [^\n]*\n(.*?)```").FindSubmatch(docs)
	if cases == nil || shown == nil {
		t.Fatal("the documentation has no example")
	}
	file := filepath.Join(t.TempDir(), "billing-cases.yaml")
	if err := os.WriteFile(file, cases[1], 0o600); err != nil {
		t.Fatal(err)
	}
	out, _, err := newAPIServer(t).run(t, "test", "-f", sample, file)
	if err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(string(shown[1]), out); diff != "" {
		t.Error(diff)
	}
}

func TestTestFailsWhenACaseComesOutOtherwise(t *testing.T) {
	file := filepath.Join(t.TempDir(), "cases.yaml")
	text := "cases:\n- {sql: SELECT name FROM customers, expect: Allow}\n- {name: \"bad\\e[31m\", sql: DROP TABLE customers, expect: {verdict: Allow, rule: reads}}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s := newAPIServer(t)
	out, _, err := s.run(t, "test", "-f", sample, file)
	if err == nil || err.Error() != "1 of 2 cases came out otherwise than expected" {
		t.Errorf("got %v", err)
	}
	if !regexp.MustCompile(`(?m)^FAIL +bad\\x1b\[31m +billing +Deny +no-schema-change +verdict Allow was expected, rule reads was expected$`).MatchString(out) {
		t.Errorf("got\n%s", out)
	}
	for _, format := range []string{"json", "yaml"} {
		out, _, err := s.run(t, "test", "-f", sample, file, "-o", format)
		if err == nil || !strings.Contains(out, "wrong") {
			t.Errorf("%s: %v, %s", format, err, out)
		}
		if format == "json" && !json.Valid([]byte(out)) {
			t.Errorf("no JSON: %s", out)
		}
	}
	if len(s.asked) > 0 {
		t.Errorf("it asks the cluster: %v", s.asked)
	}
	for args, want := range map[string]string{
		"test " + file:                     "name the file with the policies with -f",
		"test -f " + sample:                "name a file with cases",
		"test -f nowhere.yaml " + file:     "nowhere.yaml: no such file",
		"test -f " + file + " " + file:     "no AgentPolicy in",
		"test -f " + sample + " " + sample: "billing.yaml: error unmarshaling",
	} {
		if _, _, err := s.run(t, strings.Fields(args)...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", args, err)
		}
	}
}
