package snapshot

import (
	"errors"
	"fmt"
	"strings"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
)

// Path is a field of an AgentPolicy as its author writes it: spec.targets[0].postgres.tls.caFrom.
type Path string

const root Path = "spec"

// Child names a field of the struct at p.
func (p Path) Child(name string) Path { return p + "." + Path(name) }

// Index names an element of the list at p.
func (p Path) Index(i int) Path { return Path(fmt.Sprintf("%s[%d]", p, i)) }

// Error is one mistake in a policy, and where it is.
type Error struct {
	Field Path
	// Target is the target's name, empty for a mistake outside the targets.
	Target string
	// Reference is true when the field is well formed and what it points to is missing or unusable: the policy
	// mends itself when that changes.
	Reference bool
	Err       error
}

func (e *Error) Error() string { return fmt.Sprintf("%s: %v", e.Field, e.Err) }
func (e *Error) Unwrap() error { return e.Err }

// Errors is everything that is wrong with one policy.
type Errors []*Error

func (e Errors) Error() string {
	texts := make([]string, len(e))
	for i := range e {
		texts[i] = e[i].Error()
	}
	return strings.Join(texts, "; ")
}

// References reports whether nothing but references is wrong.
func (e Errors) References() bool {
	for i := range e {
		if !e[i].Reference {
			return false
		}
	}
	return len(e) > 0
}

// List returns the single mistakes in an error of Policy, nil for an error of another kind.
func List(err error) Errors {
	var all Errors
	if errors.As(err, &all) {
		return all
	}
	return nil
}

type converter struct {
	namespace string
	refs      Resolver
	current   string
	errs      Errors
}

func (c *converter) failf(at Path, format string, args ...any) {
	c.errs = append(c.errs, &Error{Field: at, Target: c.current, Err: fmt.Errorf(format, args...)})
}

func (c *converter) unresolved(at Path, err error) {
	c.errs = append(c.errs, &Error{Field: at, Target: c.current, Reference: true, Err: err})
}

func (c *converter) err() error {
	if len(c.errs) == 0 {
		return nil
	}
	return c.errs
}

// compiles asks the sidecar's own compiler, so that what is accepted here is what a sidecar can put in force.
func (c *converter) compiles(p policy.Policy) error {
	if _, err := policy.Compile(policy.Set{Policies: []policy.Policy{p}}); err != nil {
		// The compiler names target, rule and field itself; the policy's own name is known to whoever reads this.
		text := strings.TrimPrefix(err.Error(), "policy "+p.Namespace+"/"+p.Name+": ")
		return Errors{{Field: root, Err: errors.New(text)}}
	}
	return nil
}
