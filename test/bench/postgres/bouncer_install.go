package main

import "github.com/chaperone-dev/chaperone/test/pgbouncer"

// bouncer is an unpacked pgbouncer.
type bouncer struct{ *pgbouncer.Program }

// installBouncer returns Debian's.
func installBouncer() (*bouncer, error) {
	p, err := pgbouncer.Install()
	return &bouncer{p}, err
}

func (b *bouncer) version() string { return b.Version() }
