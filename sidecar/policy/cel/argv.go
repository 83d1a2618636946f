package cel

import (
	"maps"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
)

// argvFields are what `command` holds for a simple command, in the protocols that carry them:
//
//	program      string         the last element of its path; * where it is not known
//	path         string         the word as it was written
//	arguments    list(string)   the words behind it; * for one or more that are not known
//	via          list(string)   the programs that it was found through, outermost first
//	assignments  list(string)   NAME=value
//	reads, writes   list(string)   files of redirections
//	unresolved   bool           something of it is not known
//
// All are empty for a request that is no simple command.
var argvFields = map[string]bool{
	"program": true, "path": true, "arguments": true, "via": true, "assignments": true, "reads": true, "writes": true,
	"unresolved": true,
}

// argvValues are the values of argvFields; a is nil for a request that is no simple command.
func argvValues(a *policy.Argv) map[string]any {
	if a == nil {
		a = &policy.Argv{}
	}
	return map[string]any{
		"program": a.Program, "path": a.Path, "arguments": list(a.Arguments), "via": list(a.Via),
		"assignments": list(a.Assignments), "reads": list(a.Reads), "writes": list(a.Writes), "unresolved": a.Unresolved != "",
	}
}

// withArgv adds the fields of a simple command to those of a protocol.
func withArgv(fields map[string]bool) map[string]bool {
	all := maps.Clone(argvFields)
	maps.Copy(all, fields)
	return all
}

func list(words []string) []string {
	if words == nil {
		return []string{}
	}
	return words
}
