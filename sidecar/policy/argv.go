package policy

// Argv is one simple command (POSIX 2.9.1) as the operating system is asked to run it: what an SSH exec or a
// Kubernetes exec runs, found through the shells and wrappers (sudo, env, xargs) that it was written in.
type Argv struct {
	// Program is the last element of the program's path, Path the word as it was written. Unknown where it cannot
	// be told before the shell runs.
	Program string
	Path    string
	// Arguments are the words behind it, in order; one that cannot be told is Unknown.
	Arguments []string
	// Via are the programs that it was found through, outermost first: sh, sudo, xargs.
	Via []string
	// Assignments are variables that are set for it, NAME=value.
	Assignments []string
	// Writes and Reads are files that redirections open.
	Writes []string
	Reads  []string
	// Unresolved says why some word cannot be known, or what the command would do with its words; empty where all
	// is known.
	Unresolved string
}
