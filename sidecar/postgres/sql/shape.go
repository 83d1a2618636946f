package sql

// Proof is what is known of an output column.
type Proof uint8

const (
	// Unproved could hold a protected value: mask the whole of it.
	Unproved Proof = iota
	// Masked holds a protected column's own value: mask it by its row's method.
	Masked
	// Clear is proved not to hold a protected value.
	Clear
)

// Column is what is known of one output column.
type Column struct {
	Proof Proof
	// Row is the index of the masking row, for Masked.
	Row int
	// Mixed says, for Masked, that values which are not protected may stand in it as well, of whoever asks: a hash of those
	// would tell what the others are.
	Mixed bool
	// Source names the protected column, or says why the column is not proved; for the record.
	Source string
}

// Shape is what is known of a statement's output.
type Shape struct {
	// Columns are the output columns in order, where Known.
	Columns []Column
	// Known says that the number of columns is; else Rest holds for every column.
	Known bool
	Rest  Column
	// Launders says how values of a protected column would come to where they cannot be masked; empty: they would
	// not.
	Launders string
	// Infers names a protected column used outside plain output; empty: none is.
	Infers string
	// Touches says that the server works on protected values, or on what may be: errors and notices may quote them.
	Touches bool
}

// Column returns what is known of column i of a result that has n columns. Where the server's count is not the
// expected one, nothing is proved.
func (s *Shape) Column(i, n int) Column {
	if !s.Known {
		return s.Rest
	}
	if n != len(s.Columns) || i < 0 || i >= n {
		return Column{Proof: Unproved, Source: "the server's result has another shape than the statement"}
	}
	return s.Columns[i]
}

// AllClear reports whether no column needs masking.
func (s *Shape) AllClear() bool {
	if !s.Known {
		return s.Rest.Proof == Clear
	}
	for i := range s.Columns {
		if s.Columns[i].Proof != Clear {
			return false
		}
	}
	return true
}
