// Package guard refuses pods, and changes to pods, that would lead an agent around its sidecar. It looks at the
// final pod, after every mutating webhook, and the broker looks at the live pod with the same checks.
//
// The checks are data: a Check says what is wrong with its Input, a Chain is a table of them.
package guard
