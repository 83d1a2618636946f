// Package sessiontest has what a protocol is tested with in place of the operator: a log in memory and a desk where
// the test decides.
package sessiontest
