package policy

import (
	"fmt"
	"slices"
	"strings"
)

// sshRule is what a rule says of SSH requests beside simple commands (argvRule).
type sshRule struct {
	subsystems  []string // globs
	paths       []string // globs
	operations  []string
	forwarding  []string
	addresses   []string // globs
	users       []string // globs
	pty         *bool
	interactive *bool
}

func compileSSH(m *Match) (sshRule, error) {
	r := sshRule{
		subsystems: m.Subsystems, paths: m.Paths, operations: m.Operations, forwarding: m.Forwarding, addresses: m.Addresses,
		users: m.Users, pty: m.PTY, interactive: m.Interactive,
	}
	for _, f := range []struct {
		name   string
		values []string
		known  []string
	}{
		{"subsystems", m.Subsystems, nil}, {"paths", m.Paths, nil}, {"addresses", m.Addresses, nil}, {"users", m.Users, nil},
		{"operations", m.Operations, Operations}, {"forwarding", m.Forwarding, Forwardings},
	} {
		for _, v := range f.values {
			if v == "" {
				return r, fmt.Errorf("match.%s: an empty pattern matches nothing", f.name)
			}
			if f.known != nil && !slices.Contains(f.known, v) {
				return r, fmt.Errorf("match.%s: %q is not one of %s", f.name, v, strings.Join(f.known, ", "))
			}
		}
	}
	for _, p := range m.Paths {
		// Paths are absolute when they are judged; a pattern that none of them could match is a mistake.
		if p[0] != '/' && p[0] != '*' {
			return r, fmt.Errorf("match.paths: %q does not begin with / or *: paths are judged as the server resolves them", p)
		}
	}
	return r, nil
}

// matchSSH reports whether what the rule says of SSH requests holds for this one.
//
// Fields that speak of one kind of request (programs of commands, paths of files, addresses of forwardings) make the rule
// one of that kind alone. A rule that permits covers what is a permission of its own only where it names it: a terminal
// by pty: true, a session that reads its commands from its input by interactive: true (one on a terminal by either), a
// subsystem by subsystems, a forwarding by forwarding.
func (r *compiledRule) matchSSH(s *SSHRequest) bool {
	m := &r.ssh
	if len(m.users) > 0 && !anyWild(m.users, s.User) {
		return false
	}
	if m.pty != nil && *m.pty != s.PTY {
		return false
	}
	if m.interactive != nil && *m.interactive != (s.Kind == SSHShell) {
		return false
	}
	if r.permits && s.PTY && m.pty == nil && !(s.Kind == SSHShell && m.interactive != nil) {
		return false
	}
	ofCommands := r.argv.set()
	ofFiles := len(m.paths) > 0 || len(m.operations) > 0
	ofForwardings := len(m.forwarding) > 0 || len(m.addresses) > 0
	switch s.Kind {
	case SSHExec:
		return !ofFiles && !ofForwardings && len(m.subsystems) == 0 && s.Argv != nil && r.matchArgv(s.Argv)
	case SSHShell:
		if ofFiles || ofForwardings || len(m.subsystems) > 0 {
			return false
		}
		if r.permits {
			return !ofCommands && (m.interactive != nil || m.pty != nil && s.PTY)
		}
		return r.matchArgv(&anyCommand)
	case SSHSubsystem:
		if ofCommands || ofForwardings {
			return false
		}
		if s.startsSFTP() {
			return r.matchStart(s)
		}
		if ofFiles {
			return false
		}
		return len(m.subsystems) == 0 && !r.permits || anyWild(m.subsystems, s.Subsystem)
	case SSHFile:
		return !ofCommands && !ofForwardings && r.matchFile(s)
	case SSHForward:
		if ofCommands || ofFiles || len(m.subsystems) > 0 || r.permits && len(m.forwarding) == 0 {
			return false
		}
		return (len(m.forwarding) == 0 || slices.Contains(m.forwarding, s.Forwarding)) && r.matchAddress(s.Address)
	}
	return false
}

// matchStart: sftp may be started where a rule lets some file be used, and not where one refuses them all first. A
// condition is about files, of which none is known yet.
func (r *compiledRule) matchStart(s *SSHRequest) bool {
	m := &r.ssh
	if len(m.subsystems) > 0 && !anyWild(m.subsystems, s.Subsystem) {
		return false
	}
	return r.doc.Action != Deny || len(m.paths) == 0 && len(m.operations) == 0 && r.when == nil
}

// action is the rule's for this command. People are asked about the start of sftp only by a rule that names it and
// speaks of all files; any other asks about each file. They are asked what a path leads to only by a rule that says so.
func (r *compiledRule) action(cmd *Command) Action {
	m := &r.ssh
	if r.doc.Action != RequireApproval || cmd.SSH == nil {
		return r.doc.Action
	}
	if cmd.SSH.startsSFTP() && (len(m.subsystems) == 0 || len(m.paths) > 0 || len(m.operations) > 0 || r.when != nil) {
		return Allow
	}
	if cmd.SSH.Operation == OperationRealpath && !slices.Contains(m.operations, OperationRealpath) {
		return Allow
	}
	return r.doc.Action
}

// anyCommand stands for a session that could run anything: a rule that forbids some command forbids it too.
var anyCommand = Argv{Program: Unknown, Path: Unknown, Arguments: []string{Unknown}, Unresolved: "it is told what to run while it runs"}

// matchFile: a rule that permits has to cover both paths of a rename or link, any other needs one.
func (r *compiledRule) matchFile(s *SSHRequest) bool {
	m := &r.ssh
	if len(m.subsystems) > 0 && !anyWild(m.subsystems, s.Subsystem) {
		return false
	}
	if len(m.operations) > 0 && !slices.Contains(m.operations, s.Operation) {
		return false
	}
	if len(m.paths) == 0 {
		return true
	}
	matched := matchPath(m.paths, s.Path, r.permits)
	if s.Target != "" && matched == r.permits {
		matched = matchPath(m.paths, s.Target, r.permits)
	}
	if s.Tree && matched == r.permits {
		matched = r.matchTree(s.Path)
		if s.Target != "" && matched == r.permits {
			matched = r.matchTree(s.Target)
		}
	}
	return matched
}

// matchTree: what is below a folder goes with it. A rule that permits has to cover all of it, which only a pattern that
// ends in a star does; any other needs one path that could be below.
func (r *compiledRule) matchTree(folder string) bool {
	below := strings.TrimSuffix(folder, "/") + "/"
	for _, p := range r.ssh.paths {
		if r.permits {
			if strings.HasSuffix(p, "*") && covers(p, below) {
				return true
			}
			continue
		}
		literal, _, _ := strings.Cut(p, "*")
		if folder == "" || strings.HasPrefix(literal, below) || strings.HasPrefix(below, literal) && literal != p {
			return true
		}
	}
	return false
}

// matchPath: `*` stands for any characters, slashes too; a pattern that ends in /** is for the folder before it as well.
// A path that could not be resolved is empty: a rule that forbids matches it, a rule that permits only with `*`.
func matchPath(patterns []string, path string, permits bool) bool {
	for _, p := range patterns {
		if permits && covers(p, path) || !permits && touches(p, path) {
			return true
		}
		if folder, ok := strings.CutSuffix(p, "/**"); ok && path != "" && wild(folder, path) {
			return true
		}
	}
	return false
}

func (r *compiledRule) matchAddress(address string) bool {
	if len(r.ssh.addresses) == 0 {
		return true
	}
	for _, p := range r.ssh.addresses {
		if r.permits && covers(p, address) || !r.permits && touches(p, address) {
			return true
		}
	}
	return false
}

func anyWild(patterns []string, s string) bool {
	for _, p := range patterns {
		if wild(p, s) {
			return true
		}
	}
	return false
}
