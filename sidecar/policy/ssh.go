package policy

// SSHKind is what an agent asks an SSH server for.
type SSHKind string

const (
	SSHExec      SSHKind = "exec"      // one simple command of an exec request (RFC 4254 6.5)
	SSHShell     SSHKind = "shell"     // an interactive session
	SSHSubsystem SSHKind = "subsystem" // a subsystem other than sftp
	SSHFile      SSHKind = "file"      // one operation on a file: sftp, scp
	SSHForward   SSHKind = "forward"   // a forwarding (RFC 4254 7, OpenSSH PROTOCOL)
)

// SSHRequest is one thing that an agent asks an SSH server for. An exec of several simple commands is several, and
// the strictest verdict counts.
type SSHRequest struct {
	Kind SSHKind
	// User is the user on the server.
	User string
	// PTY says that a terminal was asked for.
	PTY bool
	// Argv is set for SSHExec.
	Argv *Argv
	// Subsystem is set for SSHSubsystem and, as sftp, for SSHFile.
	Subsystem string
	// Operation is what is done to Path: read, write, append, list, stat, setstat, remove, rename, link, symlink,
	// mkdir, rmdir, readlink, statvfs. Path is absolute and resolved on the server; Target is the other path of a
	// rename or link.
	Operation string
	Path      string
	Target    string
	// Forwarding is Local, Remote, StreamLocal, Agent, X11 or Tun; Address is where it leads.
	Forwarding string
	Address    string
	// ReadOnly says that nothing is changed by it (used by recording durability).
	ReadOnly bool
	// Refused names why it is refused whatever the rules say.
	Refused string
}

// what names the request in a refusal.
func (s *SSHRequest) what() string {
	switch s.Kind {
	case SSHExec:
		if s.Argv != nil {
			return s.Argv.Program
		}
	case SSHShell:
		return "an interactive session"
	case SSHSubsystem:
		return "subsystem " + s.Subsystem
	case SSHFile:
		return s.Operation + " of " + s.Path
	case SSHForward:
		return s.Forwarding + " forwarding"
	}
	return string(s.Kind)
}

// matchSSH reports whether what the rule says of SSH requests holds for this one.
func (r *compiledRule) matchSSH(*SSHRequest) bool { return false }
