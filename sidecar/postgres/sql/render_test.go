package sql

import (
	"strings"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
)

// render writes commands so that a table of tests can be read: the tag, the tables (+ for those that are changed,
// | between schemas that one could be in), then what else is said of it.
func render(commands []policy.Command) string {
	var out []string
	for i := range commands {
		c := &commands[i]
		if c.SQL == nil {
			out = append(out, "unrecognised")
			continue
		}
		s := c.SQL
		var tables []string
		for _, t := range s.Tables {
			var names []string
			for _, n := range namesOf(t) {
				names = append(names, dotted(n.Schema, n.Name))
			}
			mark := ""
			if t.Write {
				mark = "+"
			}
			tables = append(tables, mark+strings.Join(names, "|"))
		}
		text := s.Command + "(" + strings.Join(tables, " ") + ")"
		for _, flag := range []struct {
			on   bool
			name string
		}{{s.Unfiltered, "unfiltered"}, {s.Opaque, "opaque"}, {s.Control, "control"}, {s.ReadOnly, "reads"}, {s.Refused != "", "REFUSED"}} {
			if flag.on {
				text += " " + flag.name
			}
		}
		for _, g := range s.Guarded {
			text += " REFUSED unless " + string(g.Group)
		}
		if len(s.Via) > 0 {
			text += " in " + strings.Join(s.Via, "/")
		}
		out = append(out, text)
	}
	return strings.Join(out, "; ")
}
