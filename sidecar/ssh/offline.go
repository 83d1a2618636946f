package ssh

import "github.com/chaperone-dev/chaperone/sidecar/policy"

// Commands are what a session is judged by: kind is exec, shell or subsystem (RFC 4254 6.5), text the command or the
// subsystem's name, user the one on the server; pty says that a terminal was asked for.
func Commands(kind, text, user string, pty bool) []policy.Command {
	return recognise(kind, text, user, pty).commands
}
