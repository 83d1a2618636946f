package wire

import "testing"

func TestLeadingComment(t *testing.T) {
	tests := map[string]struct{ statement, want string }{
		"a block comment is the reason":             {"/* ticket 4711 */ DELETE FROM t", "ticket 4711"},
		"space before it does not matter":           {"\n\t/* ticket 4711 */DELETE FROM t", "ticket 4711"},
		"a line comment is the reason":              {"-- ticket 4711\nDELETE FROM t", "ticket 4711"},
		"lines of comments are one":                 {"-- ticket 4711:\r\n-- the customer asked\nDELETE FROM t", "ticket 4711:\nthe customer asked"},
		"comments nest":                             {"/* a /* b */ c */ DELETE FROM t", "a /* b */ c"},
		"a star before the end belongs to the text": {"/* a **/ DELETE FROM t", "a *"},
		"a slash that ends nothing":                 {"/*/ DELETE FROM t", ""},
		"a comment that never ends is none":         {"/* a DELETE FROM t", ""},
		"a planner hint is none":                    {"/*+ SeqScan(t) */ DELETE FROM t", ""},
		"a comment further on is none":              {"DELETE /* because */ FROM t", ""},
		"a comment alone":                           {"-- only this", "only this"},
		"an empty one":                              {"/**/ DELETE FROM t", ""},
		"nothing":                                   {"", ""},
		"half a beginning":                          {"/", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := leadingComment(tt.statement); got != tt.want {
				t.Fatalf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func FuzzLeadingComment(f *testing.F) {
	for _, s := range []string{"/* a /* b */ c */ x", "-- a\n--b", "/*", "/*/", "/**/", "--"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if got := leadingComment(s); len(got) > len(s) {
			t.Fatalf("%q became %q", s, got)
		}
	})
}
