package redirect

import (
	"fmt"
	"strings"
)

// String renders the table as a script that nft -f would take; the first two lines make it replace what is there
// in the same transaction.
func (t Table) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "table inet %s\ndelete table inet %s\ntable inet %s {\n", t.Name, t.Name, t.Name)
	for i, c := range t.Chains {
		if i > 0 {
			b.WriteString("\n")
		}
		fmt.Fprintf(&b, "\tchain %s {\n\t\ttype %s hook %s priority %d; policy %s;\n", c.Name, c.Type, c.Hook, c.Priority, c.Policy)
		for _, r := range c.Rules {
			fmt.Fprintf(&b, "\n\t\t# %s\n\t\t%s\n", r.Comment, r)
		}
		b.WriteString("\t}\n")
	}
	b.WriteString("}\n")
	return b.String()
}

// String renders the rule without its comment.
func (r Rule) String() string {
	words := make([]string, 0, len(r.Match)+1)
	for _, m := range r.Match {
		words = append(words, m.String())
	}
	return strings.Join(append(words, r.Verdict.String()), " ")
}
