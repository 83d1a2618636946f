package redirect

import (
	"fmt"

	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
)

// Verdict is what happens to a packet that a rule matches.
type Verdict interface {
	fmt.Stringer
	exprs() []expr.Any
}

type (
	// Accept lets the packet out.
	Accept struct{}
	// Drop discards it; the sender's call fails with EPERM.
	Drop struct{}
	// Return leaves the connection as it is.
	Return struct{}
	// To sends the connection to this port of the loopback address.
	To uint16
)

func (Accept) String() string { return "accept" }
func (Drop) String() string   { return "drop" }
func (Return) String() string { return "return" }
func (t To) String() string   { return fmt.Sprintf("redirect to :%d", uint16(t)) }

func (Accept) exprs() []expr.Any { return []expr.Any{&expr.Verdict{Kind: expr.VerdictAccept}} }
func (Drop) exprs() []expr.Any   { return []expr.Any{&expr.Verdict{Kind: expr.VerdictDrop}} }
func (Return) exprs() []expr.Any { return []expr.Any{&expr.Verdict{Kind: expr.VerdictReturn}} }

func (t To) exprs() []expr.Any {
	return []expr.Any{
		&expr.Immediate{Register: register, Data: binaryutil.BigEndian.PutUint16(uint16(t))},
		&expr.Redir{RegisterProtoMin: register},
	}
}
