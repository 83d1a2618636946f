// Package postgresserver runs a throw-away PostgreSQL for tests, from Debian's own packages: downloaded with
// apt-get, unpacked with dpkg -x into an ignored folder of the repository, installed nowhere.
//
// The server listens on loopback and a Unix socket inside its own folder, speaks TLS with a certificate of a test
// authority made for it, and runs as an unprivileged user, because postgres refuses to run as root.
package postgresserver
