package policy

import (
	"errors"
	"fmt"
	"strings"
)

// glob is a dotted name with `*` wildcards inside its parts: public.*, public.customers.card_*. Names compare
// exactly: an identifier that needs quotes in SQL is written here without them.
type glob struct {
	parts []string
}

// compileGlob reads a glob of at most n parts. A glob of fewer parts names the last ones: with n = 2, `orders`
// is the table orders of every schema.
func compileGlob(text string, n int) (glob, error) {
	if text == "" {
		return glob{}, errors.New("an empty pattern matches nothing")
	}
	parts := strings.Split(text, ".")
	if len(parts) > n {
		return glob{}, fmt.Errorf("%q has %d parts, more than %d", text, len(parts), n)
	}
	for _, p := range parts {
		if p == "" {
			return glob{}, fmt.Errorf("%q has an empty part", text)
		}
	}
	for len(parts) < n {
		parts = append([]string{"*"}, parts...)
	}
	return glob{parts: parts}, nil
}

// Unknown is the part of an object's name that the recogniser could not tell, or that stands for all: it could
// be anything, so a pattern that forbids matches it and a pattern that permits does only if it is `*` itself.
const Unknown = "*"

// covers reports whether every object that the name could be matches the pattern part.
func covers(pattern, name string) bool {
	if pattern == "*" {
		return true
	}
	if name == "" || name == Unknown {
		return false
	}
	return wild(pattern, name)
}

// touches reports whether any object that the name could be matches the pattern part.
func touches(pattern, name string) bool {
	if name == "" || name == Unknown {
		return true
	}
	return wild(pattern, name)
}

// wild matches `*` against any run of characters, in time linear in the product of both lengths at worst.
func wild(pattern, name string) bool {
	star, mark := -1, 0
	p, n := 0, 0
	for n < len(name) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, n
			p++
		case p < len(pattern) && pattern[p] == name[n]:
			p++
			n++
		case star >= 0:
			mark++
			p, n = star+1, mark
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}

// Touches reports whether a name, empty or Unknown where it could be any, matches one part of a pattern. It is
// the comparison of rules that forbid, for packages that protect by the same patterns.
func Touches(pattern, name string) bool { return touches(pattern, name) }
