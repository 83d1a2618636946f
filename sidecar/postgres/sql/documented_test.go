package sql

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
)

var update = flag.Bool("update", false, "write docs/refusals.md anew")

const (
	refusalsPage = "../../../docs/refusals.md"
	listBegins   = "<!-- from here on written by: go test ./sidecar/postgres/sql -run TestRefusalsAreDocumented -update -->\n"
)

// TestRefusalsAreDocumented holds docs/refusals.md to the list.
func TestRefusalsAreDocumented(t *testing.T) {
	page, err := os.ReadFile(refusalsPage)
	if err != nil {
		t.Fatal(err)
	}
	prose, _, ok := strings.Cut(string(page), listBegins)
	if !ok {
		t.Fatalf("%s has no line %q", refusalsPage, listBegins)
	}
	var b strings.Builder
	b.WriteString(prose + listBegins)
	for _, g := range Groups() {
		exempt := "No policy can exempt it."
		if g.Name.Exemptible() {
			exempt = "A policy can exempt it."
		}
		fmt.Fprintf(&b, "\n### `%s`\n\nRefused because %s. %s\n", g.Name, g.Why, exempt)
		list := func(kind string, names []string) {
			if len(names) > 0 {
				fmt.Fprintf(&b, "\n%s: `%s`\n", kind, strings.Join(names, "`, `"))
			}
		}
		list("Functions", g.Functions)
		list("Relations", g.Relations)
	}
	if b.String() == string(page) {
		return
	}
	if !*update {
		t.Fatalf("%s is not what the list says: run this test with -update", refusalsPage)
	}
	if err := os.WriteFile(refusalsPage, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestGroupsAreAList holds that each name stands in one group, and each group has a name that policies know.
func TestGroupsAreAList(t *testing.T) {
	seen := make(map[string]policy.RefusalGroup)
	for _, g := range Groups() {
		if g.Name == "" || g.Why == "" || len(g.Functions)+len(g.Relations) == 0 {
			t.Errorf("group %q lacks something", g.Name)
		}
		if !slices.IsSorted(g.Functions) || !slices.IsSorted(g.Relations) {
			t.Errorf("the names of group %s are not in order", g.Name)
		}
		for _, name := range slices.Concat(g.Functions, g.Relations) {
			if other, twice := seen[name]; twice && other != policy.RefuseServerFiles {
				t.Errorf("%s is in %s and in %s", name, other, g.Name)
			}
			seen[name] = g.Name
			if onlyReads(name) || returnsClear(name) {
				t.Errorf("%s is refused and said to be harmless", name)
			}
		}
	}
}
