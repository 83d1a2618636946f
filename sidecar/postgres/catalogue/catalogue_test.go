package catalogue

import (
	"testing"
	"time"

	"github.com/chaperone-dev/chaperone/sidecar/postgres/sql"
)

func build(t *testing.T, results ...[][]string) *Catalogue {
	t.Helper()
	b := NewBuilder()
	for i, rows := range results {
		for _, row := range rows {
			values := make([][]byte, len(row))
			for k, v := range row {
				values[k] = []byte(v)
			}
			if err := b.Row(i, values); err != nil {
				t.Fatal(err)
			}
		}
	}
	return b.Build()
}

func TestCatalogue(t *testing.T) {
	c := build(t, nil,
		[][]string{{"1", "public", "base", "p", ""}, {"2", "public", "part1", "r", ""}, {"3", "public", "part2", "r", ""}, {"4", "public", "v", "v", "SELECT 1"}},
		[][]string{{"1", "1", "id", "f"}, {"1", "3", "card", "f"}, {"1", "4", "last", "t"}, {"9", "1", "gone", "f"}},
		[][]string{{"2", "1"}, {"3", "2"}})
	r, ok := c.Relation("public", "base")
	if !ok || r.Kind != 'p' || len(r.Columns) != 3 || r.Columns[1] != "card" || !r.Generated["last"] || r.Generated["id"] {
		t.Fatalf("got %+v", r)
	}
	for _, name := range []string{"base", "part1", "part2"} {
		r, _ := c.Relation("public", name)
		if len(r.Family) != 3 {
			t.Errorf("%s shares rows with %v", name, r.Family)
		}
	}
	if v, _ := c.Relation("public", "v"); v.Definition != "SELECT 1" || len(v.Family) != 0 {
		t.Errorf("got %+v", v)
	}
	columns := map[string]struct {
		oid    uint32
		attnum int16
		want   string
		ok     bool
	}{
		"a column behind one that was dropped": {1, 3, "card", true},
		"a column that was dropped":            {1, 2, "", false},
		"a system column":                      {1, -1, "", true},
		"a relation that is not known":         {7, 1, "", false},
	}
	for name, test := range columns {
		if _, _, column, ok := c.Column(test.oid, test.attnum); column != test.want || ok != test.ok {
			t.Errorf("%s: got %q, %v", name, column, ok)
		}
	}
	t.Run("temporary relations lie over the others", func(t *testing.T) {
		temps := build(t, nil, [][]string{{"8", "pg_temp", "mine", "r", ""}}, [][]string{{"8", "1", "n", "f"}})
		both := temps.Over(c)
		if _, ok := both.Relation("pg_temp", "mine"); !ok {
			t.Error("the temporary one is not known")
		}
		if _, ok := both.Relation("public", "base"); !ok {
			t.Error("the other is not known")
		}
		if _, _, column, ok := both.Column(1, 3); column != "card" || !ok {
			t.Error("the other's column is not known")
		}
		if names := temps.Names(); len(names) != 1 || !names["mine"] {
			t.Errorf("names are %v", names)
		}
	})
}

func TestCodeOfTheDatabase(t *testing.T) {
	c := build(t, nil, nil, nil, nil, [][]string{{"f", "upper"}, {"f", "theirs"}, {"o", "##"}, {"c", "boxed"}})
	temps := build(t, nil, [][]string{{"8", "pg_temp", "mine", "r", ""}})
	s := NewShared(time.Now, time.Minute)
	s.Set(temps.Over(c), s.Epoch())
	s.Begin()
	for name, known := range map[string]*Catalogue{"read": c, "under temporary relations": temps.Over(c), "while relations change": s.Routines()} {
		t.Run(name, func(t *testing.T) {
			for what, test := range map[string]struct {
				kind sql.Own
				name string
				want bool
			}{
				"a function by a name of the server's": {sql.OwnFunction, "upper", true},
				"a function by a name of its own":      {sql.OwnFunction, "theirs", false}, // is unknown anyhow
				"an operator":                          {sql.OwnOperator, "##", true},
				"an operator that there is not":        {sql.OwnOperator, "+", false},
				"a cast":                               {sql.OwnCast, "boxed", true},
				"an implicit cast":                     {sql.OwnImplicit, "", false},
			} {
				if got := known.Own(test.kind, test.name); got != test.want {
					t.Errorf("%s: %v", what, got)
				}
			}
		})
	}
	if _, known := s.Routines().Relation("pg_temp", "mine"); known {
		t.Error("a relation is known while relations change")
	}
	if NewShared(time.Now, time.Minute).Routines() != nil {
		t.Error("something is known before anything was read")
	}
}

func TestRowsThatMakeNoSense(t *testing.T) {
	for name, row := range map[string]struct {
		result int
		values []string
	}{
		"too few values":      {1, []string{"1"}},
		"an oid that is none": {1, []string{"x", "s", "n", "r", ""}},
		"no relkind":          {1, []string{"1", "s", "n", "", ""}},
		"a negative attnum":   {2, []string{"1", "-1", "c", "f"}},
		"one result too many": {5, []string{"1"}},
		"code of no kind":     {4, []string{"", "x"}},
	} {
		t.Run(name, func(t *testing.T) {
			var values [][]byte
			for _, v := range row.values {
				values = append(values, []byte(v))
			}
			if err := NewBuilder().Row(row.result, values); err == nil {
				t.Fatal("taken")
			}
		})
	}
}

func TestShared(t *testing.T) {
	now := time.Unix(100, 0)
	s := NewShared(func() time.Time { return now }, time.Minute)
	c := &Catalogue{byName: map[sql.RelationName]*relation{}}
	want := func(known, unknown bool) {
		t.Helper()
		got, _ := s.Current()
		if _, u := s.Outdated(); (got != nil) != known || u != unknown {
			t.Fatalf("known %v, worth reading %v", got != nil, u)
		}
	}
	want(false, true)
	s.Set(c, s.Epoch())
	want(true, false)
	now = now.Add(2 * time.Minute)
	want(false, true)
	epoch := s.Epoch()
	s.Begin()
	want(false, false)
	s.Set(c, epoch)
	want(false, false)
	s.Set(c, s.Epoch())
	want(false, false)
	s.Begin()
	s.End()
	want(false, false)
	during := s.Epoch()
	s.End()
	want(false, true)
	s.Set(c, during)
	want(false, true)
	s.Set(c, s.Epoch())
	want(true, false)
}

func TestOneCallerReadsTheCatalogueBeforeItIsTooOld(t *testing.T) {
	read := time.Unix(100, 0)
	now := read
	s := NewShared(func() time.Time { return now }, time.Minute)
	s.Set(&Catalogue{byName: map[sql.RelationName]*relation{}}, s.Epoch())
	for _, step := range []struct {
		at   time.Duration
		what string
		want bool
	}{
		{47 * time.Second, "while there is time", false},
		{48 * time.Second, "the first in the last fifth", true},
		{48 * time.Second, "the next one", false},
		{53 * time.Second, "another, while the first may be reading", false},
		{54 * time.Second, "one more, when the first has not done it", true},
		{54 * time.Second, "and the next one", false},
		{61 * time.Second, "when it is too old", true},
		{61 * time.Second, "everybody then", true},
	} {
		now = read.Add(step.at)
		if _, got := s.Outdated(); got != step.want {
			t.Errorf("%s: %v", step.what, got)
		}
		if c, _ := s.Current(); (c != nil) != (step.at <= time.Minute) {
			t.Errorf("%s: known %v", step.what, c != nil)
		}
	}
	s.Set(&Catalogue{byName: map[sql.RelationName]*relation{}}, s.Epoch())
	if _, got := s.Outdated(); got {
		t.Error("it is read again right after it was read")
	}
}
