package policy

import "cmp"

// SSHKind is what an agent asks an SSH server for.
type SSHKind string

const (
	SSHExec      SSHKind = "exec"      // one simple command of an exec request (RFC 4254 6.5)
	SSHShell     SSHKind = "shell"     // an interactive session
	SSHSubsystem SSHKind = "subsystem" // a subsystem is started (RFC 4254 6.5)
	SSHFile      SSHKind = "file"      // one operation on a file: sftp, scp
	SSHForward   SSHKind = "forward"   // a forwarding (RFC 4254 7, OpenSSH PROTOCOL)
)

// SubsystemSFTP is the subsystem whose every operation on a file is judged (SSHFile). To start it does nothing yet: it is
// refused only where no rule lets anything follow.
const SubsystemSFTP = "sftp"

// OperationRealpath asks what a path leads to. It only steers an sftp session: rules that match it count, a target's
// defaultAction does not.
const OperationRealpath = "realpath"

// Operations are what SSHRequest.Operation can be.
var Operations = []string{
	"read", "write", "append", "list", "stat", "setstat", "remove", "rename", "link", "symlink", "mkdir", "rmdir",
	"readlink", "statvfs", OperationRealpath,
}

// Forwardings are what SSHRequest.Forwarding can be.
var Forwardings = []string{"Local", "Remote", "StreamLocal", "Agent", "X11", "Tun"}

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
	// Asked and AskedTarget are Path and Target as the agent wrote them; empty where that is the same. A refusal names
	// them, so that it does not tell where a link leads.
	Asked, AskedTarget string
	// Tree says that Path is a folder and that all below it goes with it (a folder is renamed, copied with scp -r).
	Tree bool
	// Forwarding is Local, Remote, StreamLocal, Agent, X11 or Tun; Address is where it leads.
	Forwarding string
	Address    string
	// ReadOnly says that nothing is changed by it (used by recording durability).
	ReadOnly bool
	// Refused names why it is refused whatever the rules say.
	Refused string
}

// ofItsOwn says that the request is a permission of its own: what is done by it is out of sight, so that only a rule
// which names it allows it, neither an empty one nor a defaultAction.
func (s *SSHRequest) ofItsOwn() bool {
	switch s.Kind {
	case SSHShell, SSHForward:
		return true
	case SSHSubsystem:
		return !s.startsSFTP()
	}
	return s.PTY
}

// startsSFTP says that files follow, each judged by itself.
func (s *SSHRequest) startsSFTP() bool { return s.Kind == SSHSubsystem && s.Subsystem == SubsystemSFTP }

// what names the request in a refusal.
func (s *SSHRequest) what() string {
	switch s.Kind {
	case SSHExec:
		if s.Argv == nil {
			break
		}
		what := s.Argv.Program
		if what == Unknown {
			what = "a command that cannot be told"
			if n := len(s.Argv.Via); n > 0 {
				what = "what " + s.Argv.Via[n-1] + " runs"
			}
		}
		if s.Argv.Unresolved != "" {
			what += " (" + s.Argv.Unresolved + ")"
		}
		if s.PTY {
			what += " on a terminal"
		}
		return what
	case SSHShell:
		if s.PTY {
			return "an interactive terminal"
		}
		return "a shell that reads its commands from its input"
	case SSHSubsystem:
		return "subsystem " + s.Subsystem
	case SSHFile:
		what := s.Operation + " of " + cmp.Or(s.Asked, s.Path)
		if s.Target != "" {
			what += " (" + cmp.Or(s.AskedTarget, s.Target) + ")"
		}
		return what
	case SSHForward:
		what := s.Forwarding + " forwarding"
		if s.Address != "" {
			what += " to " + s.Address
		}
		return what
	}
	return string(s.Kind)
}
