package sql

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
)

// intricateStatements are short texts that mean much work: every name could be a column of every relation, and a
// star of a star of a star has as many columns as there are particles.
func intricateStatements() map[string]string {
	repeat := strings.Repeat
	list := func(n int, format string) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, format, i)
		}
		return b.String()
	}
	return map[string]string{
		"stars over many tables":          "select " + repeat("*,", 300) + "* from " + repeat("customers,", 300) + "customers",
		"stars of each of many tables":    "select " + list(12000, "t%d.*,") + "1 from " + list(12000, "customers t%d,") + "customers",
		"stars in stars":                  "select * from " + repeat("(select *,*,*,*,*,*,*,* from ", 7) + "customers" + repeat(") x", 7),
		"many tables":                     "select * from " + repeat("customers,", 10000) + "customers",
		"names in unknown tables":         "select " + list(3000, "c%d,") + "1 from " + list(3000, "t%d,") + "customers",
		"one name in many tables":         "select " + repeat("id,", 10000) + "id from " + repeat("orders,", 10000) + "customers",
		"one alias among many":            "select " + repeat("z.id,", 12000) + "1 from " + list(12000, "orders t%d,") + "orders z",
		"functions side by side":          "select * from rows from (" + repeat("unnest(array[1]),", 9000) + "unnest(array[1])) x",
		"a query renamed many times":      "with a as (select c.*,d.*,c.*,d.* from customers c, customers d) select 1 from " + repeat("a x(y),", 10000) + "a",
		"natural joins of wide parts":     "select * from customers" + repeat(" natural join (select c.*,c.*,c.*,c.* from customers c) x", 100),
		"a natural join of starred stars": "select 1 from " + stars(5) + " a natural join " + stars(5) + " b",
		"joins that have aliases":         "select id from " + repeat("(", 200) + "customers" + repeat(" join customers on true) x", 200),
		"joins that alias their columns":  "select id from customers" + list(300, " join customers using (id) as x%d"),
		"many queries in WITH":            "with " + list(6000, "a%d as (select 1),") + "z as (select 1) select 1 from " + repeat("a0,", 12000) + "z",
		"an ordering by many names":       "select " + list(12000, "1 as c%d,") + "1 order by " + list(12000, "c%d,") + "c0",
		"a grouping by many names":        "select " + list(12000, "1 as c%d,") + "1 from customers group by " + list(12000, "c%d,") + "c0",
	}
}

func stars(n int) string {
	return strings.Repeat("(select *,*,*,*,*,*,*,* from ", n) + "customers" + strings.Repeat(") x", n-1) + ")"
}

// What an agent sends may not take the sidecar's memory, which is 128 MiB with the collector's room. What is over
// the bound is refused, or its columns are withheld.
func TestShortStatementsTakeLittleMemory(t *testing.T) {
	for name, query := range intricateStatements() {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			parsed, err := Parse(query, DefaultState())
			if err == nil {
				parsed.Statements[0].Lineage(cards(t), shop)
			}
			runtime.ReadMemStats(&after)
			if took := (after.TotalAlloc - before.TotalAlloc) >> 20; took > 300 {
				t.Errorf("%d MiB for a statement of %d bytes", took, len(query))
			}
		})
	}
}

func TestOverTheBoundNothingIsLetThrough(t *testing.T) {
	repeat := strings.Repeat
	names := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "c%d,", i)
		}
		return b.String()
	}
	unknown := func(n int) string { return "select " + names(n) + "1 from unknown_a, unknown_b" }
	for name, tc := range map[string]struct {
		query  string
		refuse bool // not recognised, or refused as it would be without the bound
		clear  bool // a column of its result is proved clear
	}{
		"names of unknown tables, under the bound":         {unknown(maxColumns/2 - 10), false, false},
		"names of unknown tables, over it":                 {unknown(maxColumns/2 + 10), true, false},
		"names in many tables, under":                      {"select id from customers" + repeat(", customers", 100), false, true},
		"names in many tables, over":                       {"select " + repeat("id,", 2000) + "id from " + repeat("customers,", 2000) + "customers", true, false},
		"a write over the bound":                           {"delete from orders using " + repeat("customers,", 2000) + "customers where " + repeat("total = 1 or ", 2000) + "true", true, false},
		"stars in stars, under":                            {"select id from " + stars(3) + " x", false, true},
		"stars in stars, over: recognised, nothing proved": {"select total from orders, " + stars(9) + " x", false, false},
		"a clear table beside them, without":               {"select total from orders", false, true},
		"an alias for each join, under":                    {"select total from " + repeat("(", 40) + "orders" + repeat(" join orders on true) x", 40), false, true},
	} {
		t.Run(name, func(t *testing.T) {
			parsed, err := Parse(tc.query, DefaultState())
			if err != nil {
				t.Fatal(err)
			}
			refuse := true
			for _, c := range parsed.Commands {
				refuse = refuse && c.Unrecognised != ""
			}
			if refuse != tc.refuse {
				t.Errorf("refused: %v, want %v", refuse, tc.refuse)
			}
			shape := parsed.Statements[0].Lineage(cards(t), shop)
			if refuse {
				return
			}
			if clear := shape.Column(0, len(shape.Columns)).Proof == Clear && len(shape.Columns) > 0; clear && !tc.clear {
				t.Error("the first column is proved clear")
			} else if tc.clear && !clear {
				t.Error("the first column is not proved clear")
			}
		})
	}
	t.Run("what is over the bound counts as laundering, as inferring and as touching", func(t *testing.T) {
		parsed, err := Parse("insert into orders (note) select 'x' from "+stars(9)+" x", DefaultState())
		if err != nil {
			t.Fatal(err)
		}
		if s := parsed.Statements[0].Lineage(cards(t), shop); s.Launders == "" || s.Infers == "" || !s.Touches {
			t.Errorf("got %+v", s)
		}
	})
	t.Run("what nobody may do stays refused, not merely unrecognised", func(t *testing.T) {
		parsed, err := Parse("select pg_read_file('x'), "+names(maxColumns)+"1 from unknown_a", DefaultState())
		if err != nil {
			t.Fatal(err)
		}
		if c := parsed.Commands[0]; c.SQL == nil || !strings.Contains(c.SQL.Refused, "pg_read_file") {
			t.Errorf("got %+v", c.Unrecognised)
		}
	})
}
