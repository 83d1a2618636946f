package policy

import (
	"bytes"
)

// PostgresSettings is what the policies of one destination say beside their rules, merged.
type PostgresSettings struct {
	// TLSMode is the strictest mode and CAPEM the roots that go with it (empty: the system's).
	TLSMode TLSMode
	CAPEM   []byte
	// HasLease says that a credential is leased for Lease; else the agent's own user name is passed on and the
	// server has to accept it without a password.
	HasLease bool
	Lease    LeaseRef
	// AgentPassword is what agents are asked for; empty: nothing. Of Audit policies too, as it is part of how the
	// target answers; a policy without one abstains.
	AgentPassword string
	// Masking holds every row of every policy: a value protected by several takes the first row's method. Rows
	// of an Audit policy count too, because masking refuses nothing.
	Masking []Masking
	// Inference is the strictest of the enforcing policies': "", RequireApproval or Deny.
	Inference Action
	// Limits are the smallest of the enforcing policies' (0: none).
	Limits Limits
}

// LeaseRef names a leased credential: the policy as namespace/name and its target.
type LeaseRef struct {
	Policy string
	Target string
}

// tlsRank orders modes by strictness.
var tlsRank = map[TLSMode]int{TLSDisable: 1, TLSRequire: 2, TLSVerifyCA: 3, TLSVerifyFull: 4}

func (pg *Postgres) tlsMode() TLSMode {
	if pg.TLSMode == "" {
		return TLSVerifyFull
	}
	return pg.TLSMode
}

func mergePostgres(targets []*compiledTarget) (settings *PostgresSettings, conflict string) {
	s := &PostgresSettings{}
	// The targets that decided TLSMode, that give the credential, and that ask agents for a password.
	var root, leased, asking *compiledTarget
	for _, t := range targets {
		pg := t.target.Postgres
		switch mode := pg.tlsMode(); {
		case root == nil || tlsRank[mode] > tlsRank[s.TLSMode]:
			root, s.TLSMode, s.CAPEM = t, mode, pg.CAPEM
		case mode == s.TLSMode && tlsRank[mode] >= tlsRank[TLSVerifyCA] && !bytes.Equal(pg.CAPEM, s.CAPEM):
			conflict = "policies " + root.policy.name + " and " + t.policy.name + " name different certificate authorities (postgres.tls.caFrom) for one destination"
		}
		if pg.HasCredentials {
			if leased == nil {
				leased = t
				s.HasLease, s.Lease = true, LeaseRef{Policy: t.policy.name, Target: t.target.Name}
			} else if first := leased.target.Postgres; first.CredentialsID == "" || first.CredentialsID != pg.CredentialsID {
				conflict = "policies " + leased.policy.name + " and " + t.policy.name + " give different credentials (postgres.credentials) for one destination"
			}
		}
		switch {
		case pg.AgentPassword == "":
		case asking == nil:
			asking, s.AgentPassword = t, pg.AgentPassword
		case pg.AgentPassword != s.AgentPassword:
			conflict = "policies " + asking.policy.name + " and " + t.policy.name + " ask agents for different passwords (postgres.agentPassword) for one destination"
		}
		s.Masking = append(s.Masking, pg.Masking...)
		if t.policy.audit {
			continue
		}
		if rank(pg.Inference) > rank(s.Inference) && pg.Inference != Allow {
			s.Inference = pg.Inference
		}
		s.Limits = s.Limits.smallest(pg.Limits)
	}
	return s, conflict
}

func (l Limits) smallest(o Limits) Limits {
	return Limits{
		Rows:                smaller(l.Rows, o.Rows),
		Bytes:               smaller(l.Bytes, o.Bytes),
		StatementTimeoutMS:  smaller(l.StatementTimeoutMS, o.StatementTimeoutMS),
		MaxStatementBytes:   smaller(l.MaxStatementBytes, o.MaxStatementBytes),
		MaxConnections:      smaller(l.MaxConnections, o.MaxConnections),
		MaxPendingApprovals: smaller(l.MaxPendingApprovals, o.MaxPendingApprovals),
	}
}

// smaller of two limits of which 0 means none.
func smaller(a, b int64) int64 {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}
