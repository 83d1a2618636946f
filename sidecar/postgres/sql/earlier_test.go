package sql

import "testing"

// TestEarlier holds what a name means of which a plan may have been made before.
func TestEarlier(t *testing.T) {
	for name, c := range map[string]struct {
		path    []string
		earlier []string
		planned bool
		query   string
		want    string
	}{
		"nothing earlier":                      {[]string{"mine", "public"}, nil, false, "SELECT card_number FROM customers", "C"},
		"an earlier one that is protected":     {[]string{"mine", "public"}, []string{"public"}, false, "SELECT id, card_number, card_number || 'x' FROM customers", "C M0 U I"},
		"a star":                               {[]string{"mine", "public"}, []string{"public"}, false, "SELECT * FROM customers", "C C M0 C"},
		"under another name":                   {[]string{"mine", "public"}, []string{"public"}, false, "SELECT c.b FROM customers AS c(x, y, b)", "M0"},
		"the name is qualified":                {[]string{"mine", "public"}, []string{"public"}, false, "SELECT card_number FROM mine.customers", "C"},
		"an earlier one that is there no more": {[]string{"mine", "gone"}, []string{"gone"}, false, "SELECT card_number FROM customers", "C"},
		"one of another path":                  {[]string{"mine"}, []string{"public"}, false, "SELECT card_number FROM customers", "C"},
		"one of another path, of a cursor":     {[]string{"mine"}, []string{"public"}, true, "SELECT id, card_number FROM customers", "C M0"},
		"gone, of a cursor":                    {[]string{"mine"}, []string{"gone"}, true, "SELECT card_number FROM customers", "U"},
		"with other columns":                   {[]string{"mine", "other"}, []string{"other"}, false, "SELECT id FROM customers", "U"},
		"any in the path":                      {[]string{"mine", "public"}, []string{""}, false, "SELECT id, card_number FROM customers", "C M0"},
		"any, of a cursor":                     {[]string{"mine", "public"}, []string{""}, true, "SELECT id FROM customers", "U"},
	} {
		t.Run(name, func(t *testing.T) {
			cat := relations{{"mine", "customers"}: shop[RelationName{"public", "customers"}]}
			for n, r := range shop {
				cat[n] = r
			}
			st := State{SearchPath: c.path, StandardConformingStrings: true, Catalogue: cat, Planned: c.planned,
				Earlier: map[string][]string{"customers": c.earlier}}
			p, err := Parse(c.query, st)
			if err != nil {
				t.Fatal(err)
			}
			if got := outline(p.Statements[0].Lineage(cards(t), cat)); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

// TestEarlierTables holds that rules see every table that a plan may read.
func TestEarlierTables(t *testing.T) {
	st := State{SearchPath: []string{"mine", "public"}, StandardConformingStrings: true,
		Catalogue: relations{{"mine", "customers"}: {Kind: 'r'}, {"public", "customers"}: {Kind: 'r'}},
		Earlier:   map[string][]string{"customers": {"public", "mine", "gone"}}}
	p, err := Parse("SELECT 1 FROM customers", st)
	if err != nil {
		t.Fatal(err)
	}
	got := p.Commands[0].SQL.Tables
	if len(got) != 1 || got[0].Schema != "mine" || len(got[0].Candidates) != 1 || got[0].Candidates[0] != "public" {
		t.Errorf("got %+v", got)
	}
}
