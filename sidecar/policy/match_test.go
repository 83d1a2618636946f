package policy

import "testing"

func TestRuleMatching(t *testing.T) {
	yes, no := true, false
	orders, customers := public("orders"), public("customers")
	opaque := SQL{Command: "DO", Opaque: true}
	tests := map[string]struct {
		action Action // of the rule
		match  Match
		sql    SQL
		want   bool
	}{
		"an empty match is for every command": {Allow, Match{}, SQL{Command: "DROP TABLE"}, true},

		"a command matches by its first word":                        {Deny, Match{Commands: []string{"DROP"}}, SQL{Command: "DROP TABLE"}, true},
		"a command matches by its whole tag":                         {Deny, Match{Commands: []string{"DROP TABLE"}}, SQL{Command: "DROP TABLE"}, true},
		"a command matches without case":                             {Deny, Match{Commands: []string{"drop  table"}}, SQL{Command: "DROP TABLE"}, true},
		"another object of the same verb does not match a whole tag": {Deny, Match{Commands: []string{"DROP TABLE"}}, SQL{Command: "DROP VIEW"}, false},
		"a part of a word does not match":                            {Deny, Match{Commands: []string{"SEL"}}, SQL{Command: "SELECT"}, false},
		"two words do not match three":                               {Deny, Match{Commands: []string{"CREATE TABLE"}}, SQL{Command: "CREATE TABLE AS"}, false},
		"SELECT matches SELECT FOR UPDATE by its first word":         {Allow, Match{Commands: []string{"SELECT"}}, SQL{Command: "SELECT FOR UPDATE"}, true},
		"a forbidding rule sees the statement around":                {Deny, Match{Commands: []string{"EXPLAIN"}}, SQL{Command: "SELECT", Via: []string{"EXPLAIN"}}, true},
		"a permitting rule does not":                                 {Allow, Match{Commands: []string{"EXPLAIN"}}, SQL{Command: "SELECT", Via: []string{"EXPLAIN"}}, false},

		"allowing tables needs every table covered":          {Allow, Match{Tables: []string{"public.orders"}}, SQL{Command: "SELECT", Tables: []Table{orders, customers}}, false},
		"allowing tables may cover them by several patterns": {Allow, Match{Tables: []string{"public.orders", "public.cust*"}}, SQL{Command: "SELECT", Tables: []Table{orders, customers}}, true},
		"denying tables needs one of them":                   {Deny, Match{Tables: []string{"public.customers"}}, SQL{Command: "SELECT", Tables: []Table{orders, customers}}, true},
		"asking for approval needs one of them":              {RequireApproval, Match{Tables: []string{"public.customers"}}, SQL{Command: "SELECT", Tables: []Table{orders, customers}}, true},
		"denying tables that are not there":                  {Deny, Match{Tables: []string{"public.secrets"}}, SQL{Command: "SELECT", Tables: []Table{orders}}, false},
		"a command without tables is covered":                {Allow, Match{Tables: []string{"public.*"}}, SQL{Command: "SELECT"}, true},
		"a command without tables is not forbidden":          {Deny, Match{Tables: []string{"public.*"}}, SQL{Command: "SELECT"}, false},
		"a pattern without schema is for every schema":       {Allow, Match{Tables: []string{"orders"}}, SQL{Command: "SELECT", Tables: []Table{{Schema: "x", Name: "orders"}}}, true},
		"a star does not cross the dot":                      {Allow, Match{Tables: []string{"public.*"}}, SQL{Command: "SELECT", Tables: []Table{{Schema: "publicx", Name: "orders"}}}, false},
		"patterns compare with case":                         {Allow, Match{Tables: []string{"public.orders"}}, SQL{Command: "SELECT", Tables: []Table{public("Orders")}}, false},

		"an unknown schema is not covered by a named one":  {Allow, Match{Tables: []string{"public.orders"}}, SQL{Command: "SELECT", Tables: []Table{{Name: "orders"}}}, false},
		"an unknown schema is covered by any":              {Allow, Match{Tables: []string{"*.orders"}}, SQL{Command: "SELECT", Tables: []Table{{Name: "orders"}}}, true},
		"an unknown schema is forbidden by a named one":    {Deny, Match{Tables: []string{"public.orders"}}, SQL{Command: "SELECT", Tables: []Table{{Name: "orders"}}}, true},
		"every candidate schema has to be covered":         {Allow, Match{Tables: []string{"a.*"}}, SQL{Command: "SELECT", Tables: []Table{{Schema: "a", Name: "t", Candidates: []string{"b"}}}}, false},
		"all candidates covered":                           {Allow, Match{Tables: []string{"a.*", "b.*"}}, SQL{Command: "SELECT", Tables: []Table{{Schema: "a", Name: "t", Candidates: []string{"b"}}}}, true},
		"one candidate is enough to forbid":                {Deny, Match{Tables: []string{"b.*"}}, SQL{Command: "SELECT", Tables: []Table{{Schema: "a", Name: "t", Candidates: []string{"b"}}}}, true},
		"all tables of a schema are forbidden with one":    {Deny, Match{Tables: []string{"a.secret"}}, SQL{Command: "DROP SCHEMA", Tables: []Table{{Schema: "a", Name: Unknown}}}, true},
		"all tables of a schema are not covered by one":    {Allow, Match{Tables: []string{"a.plain"}}, SQL{Command: "GRANT", Tables: []Table{{Schema: "a", Name: Unknown}}}, false},
		"all tables of a schema are covered by all":        {Allow, Match{Tables: []string{"a.*"}}, SQL{Command: "GRANT", Tables: []Table{{Schema: "a", Name: Unknown}}}, true},
		"a table whose name holds a dot is only one table": {Allow, Match{Tables: []string{"public.*"}}, SQL{Command: "SELECT", Tables: []Table{public("x.y")}}, true},

		"columns are covered":                                    {Allow, Match{Columns: []string{"public.orders.*"}}, SQL{Command: "SELECT", Columns: []string{"public.orders.id", "public.orders.total"}}, true},
		"one column is not covered":                              {Allow, Match{Columns: []string{"public.orders.id"}}, SQL{Command: "SELECT", Columns: []string{"public.orders.id", "public.orders.total"}}, false},
		"a column is forbidden":                                  {Deny, Match{Columns: []string{"public.customers.card_number"}}, SQL{Command: "SELECT", Columns: []string{"public.customers.card_number"}}, true},
		"all columns hold the forbidden one":                     {Deny, Match{Columns: []string{"public.customers.card_number"}}, SQL{Command: "SELECT", Columns: []string{"public.customers.*"}}, true},
		"all columns are not covered by one":                     {Allow, Match{Columns: []string{"public.customers.name"}}, SQL{Command: "SELECT", Columns: []string{"public.customers.*"}}, false},
		"a column of an unknown table is forbidden by its name":  {Deny, Match{Columns: []string{"public.customers.card_number"}}, SQL{Command: "SELECT", Columns: []string{"*.*.card_number"}}, true},
		"a column of an unknown table with another name is not":  {Deny, Match{Columns: []string{"public.customers.card_number"}}, SQL{Command: "SELECT", Columns: []string{"*.*.name"}}, false},
		"a column pattern of one part is for every table":        {Deny, Match{Columns: []string{"card_number"}}, SQL{Command: "SELECT", Columns: []string{"a.b.card_number"}}, true},
		"a column of a table whose name holds a dot is compared": {Deny, Match{Columns: []string{"*.*.card_number"}}, SQL{Command: "SELECT", Columns: []string{"public.x.y.card_number"}}, true},

		"functions are covered": {Allow, Match{Functions: []string{"lower", "count"}}, SQL{Command: "SELECT", Functions: []string{"lower"}}, true},
		"a function pattern without schema is for a qualified call":  {Deny, Match{Functions: []string{"pg_sleep"}}, SQL{Command: "SELECT", Functions: []string{"pg_catalog.pg_sleep"}}, true},
		"a function of unknown schema is forbidden by a named one":   {Deny, Match{Functions: []string{"pg_catalog.pg_sleep"}}, SQL{Command: "SELECT", Functions: []string{"pg_sleep"}}, true},
		"a function of unknown schema is not covered by a named one": {Allow, Match{Functions: []string{"app.*"}}, SQL{Command: "SELECT", Functions: []string{"report"}}, false},

		"unfiltered":                          {Deny, Match{Unfiltered: &yes}, SQL{Command: "DELETE", Unfiltered: true}, true},
		"filtered where unfiltered is wanted": {Deny, Match{Unfiltered: &yes}, SQL{Command: "DELETE"}, false},
		"filtered wanted":                     {Allow, Match{Unfiltered: &no}, SQL{Command: "DELETE"}, true},
		"every field has to match":            {Deny, Match{Commands: []string{"UPDATE"}, Unfiltered: &yes}, SQL{Command: "DELETE", Unfiltered: true}, false},

		"an opaque statement may do what a rule forbids":               {Deny, Match{Commands: []string{"DROP"}}, opaque, true},
		"an opaque statement may touch a table that a rule forbids":    {Deny, Match{Tables: []string{"public.secrets"}}, opaque, true},
		"an opaque statement is allowed by its own tag":                {Allow, Match{Commands: []string{"DO"}}, opaque, true},
		"an opaque statement is allowed by an empty match":             {Allow, Match{}, opaque, true},
		"an opaque statement is not covered by tables":                 {Allow, Match{Commands: []string{"DO"}, Tables: []string{"*"}}, opaque, false},
		"an opaque statement is not covered by functions it hides":     {Allow, Match{Commands: []string{"DO"}, Functions: []string{"*"}}, opaque, false},
		"a procedure is allowed by its name":                           {Allow, Match{Commands: []string{"CALL"}, Functions: []string{"app.rebuild"}}, SQL{Command: "CALL", Opaque: true, Functions: []string{"app.rebuild"}}, true},
		"an opaque statement is not known to be filtered or otherwise": {Allow, Match{Unfiltered: &no}, opaque, false},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			rule := Rule{Name: "r", Match: tc.match, Action: tc.action}
			r, err := compileRule(ProtocolPostgres, &rule)
			if err != nil {
				t.Fatal(err)
			}
			cmd := sqlCommand(tc.sql)
			if got, err := r.match(&cmd); err != nil || got != tc.want {
				t.Errorf("got %v, %v; want %v", got, err, tc.want)
			}
		})
	}
}

func TestGlob(t *testing.T) {
	tests := []struct {
		pattern, name string
		want          bool
	}{
		{"*", "", true}, {"*", "x", true}, {"a*", "a", true}, {"a*", "ba", false}, {"*a", "ba", true}, {"*a*", "bab", true},
		{"a*c*e", "abcde", true}, {"a*c*e", "abcd", false}, {"", "", true}, {"", "x", false}, {"**", "x", true}, {"a", "A", false},
		{"card_*", "card_number", true}, {"card_*", "card", false}, {"*ab", "aab", true}, {"*aab", "aaab", true},
	}
	for _, tc := range tests {
		if got := wild(tc.pattern, tc.name); got != tc.want {
			t.Errorf("wild(%q, %q) = %v", tc.pattern, tc.name, got)
		}
	}
}
