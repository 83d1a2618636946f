package sql

import (
	"strings"
	"testing"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
)

// TestCodeOfTheDatabase holds that a name of the server's is not trusted where the database has code of its own by it.
func TestCodeOfTheDatabase(t *testing.T) {
	protected, err := NewProtected([]policy.Masking{{Columns: []string{"public.customers.card"}}})
	if err != nil {
		t.Fatal(err)
	}
	known := func(own ...string) relations {
		r := relations{{Schema: "public", Name: "orders"}: {Kind: 'r', Columns: []string{"id"}}}
		for _, o := range own {
			r[RelationName{Schema: "own " + o[:1], Name: o[1:]}] = Relation{}
		}
		return r
	}
	tests := map[string]struct {
		query string
		cat   Catalogue
		clear bool
	}{
		"a function of the server's":                    {"select upper('x')", known(), true},
		"a function that the database has too":          {"select upper('x')", known("fupper"), false},
		"another function":                              {"select lower('x')", known("fupper"), true},
		"an operator of the server's":                   {"select 1 + 1", known(), true},
		"an operator that the database has too":         {"select 1 + 1", known("o+"), false},
		"an operator of ANY":                            {"select 1 = any (array[1])", known("o="), false},
		"a comparison by IN":                            {"select 1 in (1, 2)", known("o="), false},
		"a cast to a type":                              {"select 1::boxed", known(), true},
		"a cast to a type, which the database casts to": {"select 1::boxed", known("cboxed"), false},
		"a function where the database casts by itself": {"select upper('x')", known("i"), false},
		"a column where the database casts by itself":   {"select id from public.orders", known("i"), true},
		"a constant where the database casts by itself": {"select 1", known("i"), true},
		"a function where nothing is known of the code": {"select upper('x')", nil, false},
		"a constant where nothing is known of the code": {"select 1", nil, true},
		"an order by an operator that the database has": {"select id from public.orders order by id using <", known("o<"), true},
		"an aggregate that the database has too":        {"select max(id) from public.orders", known("fmax"), false},
		"a view's function, which the database has too": {"select u from public.v", func() Catalogue {
			r := known("fupper")
			r[RelationName{"public", "v"}] = Relation{Kind: 'v', Columns: []string{"u"}, Definition: "SELECT upper('x') AS u"}
			return r
		}(), false},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			st := DefaultState()
			st.Catalogue = tc.cat
			parsed, err := Parse(tc.query, st)
			if err != nil {
				t.Fatal(err)
			}
			shape := parsed.Statements[0].Lineage(protected, tc.cat)
			clear := shape.Known && shape.Columns[0].Proof == Clear
			if clear != tc.clear {
				t.Errorf("clear is %v: %+v", clear, shape)
			}
			if strings.Contains(tc.query, "using") && shape.Infers == "" {
				t.Error("nothing is inferred")
			}
		})
	}
}
