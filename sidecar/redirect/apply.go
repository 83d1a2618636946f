package redirect

import (
	"fmt"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
)

// maxComment is what fits the length byte of the kernel's user data (NFT_USERDATA_MAXLEN) with its terminator,
// less the two bytes of its own header.
const maxComment = 250

// Apply puts the table in force in the network namespace of the calling thread, in one transaction that replaces
// an earlier one: at no moment does a packet pass that neither would let out.
func Apply(t Table) error {
	conn, err := nftables.New()
	if err != nil {
		return fmt.Errorf("opening netlink: %w", err)
	}
	table := &nftables.Table{Name: t.Name, Family: nftables.TableFamilyINet}
	// Adding what may be there makes deleting it sure to succeed.
	conn.AddTable(table)
	conn.DelTable(table)
	conn.AddTable(table)
	for _, c := range t.Chains {
		policy := nftables.ChainPolicyAccept
		if c.Policy == "drop" {
			policy = nftables.ChainPolicyDrop
		}
		hook := nftables.ChainHookOutput
		if c.Hook == "postrouting" {
			hook = nftables.ChainHookPostrouting
		}
		chain := conn.AddChain(&nftables.Chain{
			Name: c.Name, Table: table, Type: nftables.ChainType(c.Type), Hooknum: hook,
			Priority: nftables.ChainPriorityRef(nftables.ChainPriority(c.Priority)), Policy: &policy,
		})
		for _, r := range c.Rules {
			comment := r.Comment[:min(len(r.Comment), maxComment)]
			conn.AddRule(&nftables.Rule{
				Table: table, Chain: chain, Exprs: r.exprs(),
				UserData: userdata.AppendString(nil, userdata.TypeComment, comment),
			})
		}
	}
	if err := conn.Flush(); err != nil {
		return fmt.Errorf("programming table inet %s over netlink (it needs NET_ADMIN and nf_tables with nat for inet, Linux 5.2 or newer): %w", t.Name, err)
	}
	return nil
}

func (r Rule) exprs() []expr.Any {
	var out []expr.Any
	for _, m := range r.Match {
		out = append(out, m.exprs()...)
	}
	return append(out, r.Verdict.exprs()...)
}
