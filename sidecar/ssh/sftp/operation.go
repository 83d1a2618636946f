package sftp

import "context"

// Operation is what is done to a file, as it is judged.
type Operation struct {
	// Names are policy.Operations; an open may be several.
	Names []string
	// Path is absolute and resolved by the server, with the last name's own link followed where the operation does.
	// Target is the other path of a rename, link or symlink.
	Path, Target string
	// Asked and AskedTarget are the same in the agent's own words: a refusal does not tell where a link leads.
	Asked, AskedTarget string
	// Through are folders that the paths lead into and out of again ("folder/name/.."), resolved likewise: whether one is
	// there shows in the answer.
	Through []Place
	// Tree says that Path is a folder whose contents go with it.
	Tree bool
	// Detail says more to people who approve: flags of an open, attributes that are set.
	Detail string
	// Failed says that the server cannot resolve the path, which then is what it would lead to: whatever is decided,
	// nothing is done. Nobody needs to be asked.
	Failed bool
}

// Place is what a path leads to, and the path in the agent's own words.
type Place struct{ Path, Asked string }

// Ruling is what was decided of an operation that may be done.
type Ruling struct {
	// Number is the one under which the operation was recorded; 0 for none.
	Number uint64
	// Waited says that people were asked, or a record was waited for: what was judged may be something else by now.
	Waited bool
	// Stands says by an error, in words that the agent reads, that it is no longer allowed. It is asked before each use of
	// a file that was opened, from several goroutines. Nil for what always stands.
	Stands func() error
}

// Result is how an operation ended.
type Result struct {
	Read, Written Transfer
	// Opened says that the operation was an open, whose Result comes when the file is closed.
	Opened bool
	// Error is the server's, or why nothing was done.
	Error string
}

// Gate decides and records. Judge is called by one goroutine, Done by several.
type Gate interface {
	// Judge decides and records. An error is a refusal in words that the agent reads; nothing may be done then.
	Judge(ctx context.Context, op Operation) (Ruling, error)
	// Done records how the operation of that number ended.
	Done(number uint64, r Result)
}
