package cel

import "github.com/chaperone-dev/chaperone/sidecar/policy"

// sshFields are what `command` holds for a request to an SSH server, beside argvFields for an exec, whose path is
// programPath here. What a kind does not have is empty:
//
//	text         string         what the agent sent
//	kind         string         exec, shell, subsystem, file or forward
//	user         string         on the server
//	pty, interactive, readOnly   bool
//	programPath  string         of an exec: /bin/ls; * where it cannot be told
//	subsystem    string
//	operation, path, target     string         of a file
//	forwarding, address         string
var sshFields = map[string]bool{
	"text": true, "kind": true, "user": true, "pty": true, "interactive": true, "readOnly": true, "programPath": true,
	"subsystem": true, "operation": true, "path": true, "target": true, "forwarding": true, "address": true,
}

func sshValues(cmd policy.Command) map[string]any {
	s := cmd.SSH
	values := argvValues(s.Argv)
	values["programPath"] = values["path"]
	if s.Kind == policy.SSHShell {
		values["unresolved"] = true
	}
	for field, value := range map[string]any{
		"text": cmd.Text, "kind": string(s.Kind), "user": s.User, "pty": s.PTY, "interactive": s.Kind == policy.SSHShell,
		"readOnly": s.ReadOnly, "subsystem": s.Subsystem, "operation": s.Operation, "path": s.Path, "target": s.Target,
		"forwarding": s.Forwarding, "address": s.Address,
	} {
		values[field] = value
	}
	return values
}
