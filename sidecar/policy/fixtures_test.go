package policy

// enforced is a policy with one PostgreSQL target at db:5432.
func enforced(name string, pg Postgres) Policy {
	return Policy{
		Namespace: "ns", Name: name, Generation: 7, Enforcement: Enforce, Egress: Egress{Unmatched: Deny},
		Recording: Recording{Durability: Spool, OnFailure: Block},
		Targets:   []Target{{Name: "billing", Hosts: []string{"db"}, Port: 5432, Postgres: &pg}},
	}
}

func audited(name string, pg Postgres) Policy {
	p := enforced(name, pg)
	p.Enforcement = Audit
	return p
}

func mustCompile(t interface {
	Helper()
	Fatal(...any)
}, policies ...Policy) *Compiled {
	t.Helper()
	c, err := Compile(Set{Policies: policies})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func sqlCommand(s SQL) Command {
	return Command{Protocol: ProtocolPostgres, Text: s.Command, SQL: &s}
}

func reading(tables ...Table) Command {
	return sqlCommand(SQL{Command: "SELECT", Tables: tables, ReadOnly: true})
}

func public(name string) Table { return Table{Schema: "public", Name: name} }
