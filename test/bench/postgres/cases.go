package main

import (
	"fmt"
	"time"
)

// benchCase is one kind of work, done by the same client through every peer.
type benchCase struct {
	title   string
	clients int
	tls     bool
	// pgbench are the arguments of pgbench; without any, query is read by a client that only counts bytes.
	pgbench []string
	query   string
	// send is how many bytes the client sends when the query asks for a COPY's data.
	send int
}

func (c *benchCase) name() string {
	name := c.title
	if c.clients > 1 {
		name += fmt.Sprintf(", %d clients", c.clients)
	}
	if c.tls {
		name += ", TLS"
	}
	return name
}

// cases are all of them. Select-only is pgbench's own script: one row by primary key, in a simple query with the key
// as a literal, or as a parameter.
var cases = func() (all []*benchCase) {
	for _, tls := range []bool{false, true} {
		for _, mode := range []string{"simple", "extended", "prepared"} {
			for _, clients := range []int{1, 8, 32} {
				all = append(all, &benchCase{title: "select-only " + mode, clients: clients, tls: tls, pgbench: []string{"-S", "-M", mode}})
			}
		}
		all = append(all,
			&benchCase{title: "connect and one query", clients: 1, tls: tls, pgbench: []string{"-S", "-C"}},
			&benchCase{title: "read 1,000 rows", clients: 1, tls: tls, query: "SELECT * FROM measurements WHERE id <= 1000"},
			&benchCase{title: "read 1,000 rows, masked", clients: 1, tls: tls, query: "SELECT * FROM customers"},
			&benchCase{title: "read 1,000,000 rows", clients: 1, tls: tls, query: "SELECT * FROM measurements"},
			&benchCase{title: "COPY 1,000,000 rows out", clients: 1, tls: tls, query: "COPY measurements TO STDOUT"},
		)
	}
	// What has to be linear in time and flat in memory, whatever its size.
	return append(all,
		&benchCase{title: "a row of 25 MiB", clients: 1, query: fmt.Sprintf(longRow, 25<<20/24)},
		&benchCase{title: "a row of 100 MiB", clients: 1, query: fmt.Sprintf(longRow, 100<<20/24)},
		&benchCase{title: "COPY 1 GiB out", clients: 1, query: "COPY (SELECT repeat('some words, 12 of them. ', 42) FROM generate_series(1, 1065220)) TO STDOUT"},
		&benchCase{title: "COPY 1 GiB in", clients: 1, query: "COPY sink FROM STDIN", send: 1 << 30},
	)
}()

const longRow = "SELECT 1, repeat('some words, 12 of them. ', %d)"

// schema is what the cases read. Nothing in measurements matches a detector; customers has a protected column and
// addresses that a detector finds. sink keeps nothing.
const schema = `
CREATE TABLE measurements AS SELECT g AS id, 'customer number ' || g AS name,
	(ARRAY['Lisbon', 'Oslo', 'Kyoto', 'Quito', 'Accra'])[1 + g % 5] AS city, md5(g::text) AS reference,
	(g * 7 % 100000) / 100.0 AS amount, timestamptz '2026-01-01' + g * interval '1 second' AS at
	FROM generate_series(1, 1000000) g;
ALTER TABLE measurements ADD PRIMARY KEY (id);
CREATE TABLE customers AS SELECT g AS id, 'customer number ' || g AS name, 'c' || g || '@mail.example' AS email,
	'4111111111111111' AS card_number, 'a note of some forty characters, or so' AS note FROM generate_series(1, 1000) g;
CREATE TABLE sink (line text);
CREATE FUNCTION swallow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER swallow BEFORE INSERT ON sink FOR EACH ROW EXECUTE FUNCTION swallow();
VACUUM ANALYZE;`

// sample is what one peer did in one round.
type sample struct {
	perSecond float64
	p50, p99  time.Duration
	// processor is what the proxy's process used for each query, zero where there is no such process of ours.
	processor time.Duration
	// resident is the most memory that the proxy's process held meanwhile, in bytes.
	resident int64
}
