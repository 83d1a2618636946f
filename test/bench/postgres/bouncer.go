package main

import (
	"fmt"

	"github.com/chaperone-dev/chaperone/test/bench/process"
)

// bouncerConfig gives each client a backend of its own, new, as the sidecar does. The password towards the server is
// pgbouncer's own, towards it nobody needs one.
const bouncerConfig = `[databases]
app = host=127.0.0.1 port=%[1]d user=%[2]s password=%[3]s dbname=app
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %[4]d
unix_socket_dir =
auth_type = any
pool_mode = session
server_lifetime = 0
default_pool_size = 100
max_client_conn = 200
ignore_startup_parameters = extra_float_digits
log_connections = 0
log_disconnections = 0
server_check_query =
`

const bouncerTLS = `client_tls_sslmode = require
client_tls_key_file = %[1]s
client_tls_cert_file = %[2]s
server_tls_sslmode = verify-full
server_tls_ca_file = %[3]s
`

// startBouncer runs one pgbouncer, with TLS on both legs or on none.
func (l *lab) startBouncer(secure bool) (*peer, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	config := fmt.Sprintf(bouncerConfig, l.server.Port, user, l.password, port)
	name := "bouncer-plain.ini"
	if secure {
		config += fmt.Sprintf(bouncerTLS, l.files["key"], l.files["certificate"], l.files["root"])
		name = "bouncer-tls.ini"
	}
	path, err := l.server.Put(name, []byte(config))
	if err != nil {
		return nil, err
	}
	cmd := l.server.Command("pgbouncer", path) // for its user and folder
	cmd.Path, cmd.Args[0], cmd.Env, cmd.Err = l.bouncer.Path, l.bouncer.Path, l.bouncer.Environment(), nil
	p, err := process.Launch(cmd)
	if err != nil {
		return nil, err
	}
	return &peer{name: "pgbouncer", port: port, process: p}, nil
}
