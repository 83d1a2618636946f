package sftp

import "context"

// Operation is what is done to a file, as it is judged.
type Operation struct {
	// Names are policy.Operations; an open may be several.
	Names []string
	// Path is absolute and resolved by the server, with the last name's own link followed where the operation does.
	// Target is the other path of a rename, link or symlink.
	Path, Target string
	// Tree says that Path is a folder whose contents go with it.
	Tree bool
	// Detail says more to people who approve: flags of an open, attributes that are set.
	Detail string
	// Failed says that the server cannot resolve the path, which is then as the client wrote it: whatever is decided,
	// nothing is done. Nobody needs to be asked.
	Failed bool
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
	// Judge returns the number under which the operation was recorded. An error is a refusal in words that the agent
	// reads; nothing may be done then.
	Judge(ctx context.Context, op Operation) (number uint64, err error)
	// Done records how the operation of that number ended.
	Done(number uint64, r Result)
}
