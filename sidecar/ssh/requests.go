package ssh

import (
	"errors"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/chaperone-dev/chaperone/sidecar/session"
)

// envVariable is a variable that the agent sets for its session (RFC 4254 6.4).
type envVariable struct{ Name, Value string }

// harmlessEnv are variables that change how something is said, not what is run. Any other is refused: LD_PRELOAD,
// BASH_ENV or PATH make another command of the same words. GIT_PROTOCOL is git's way to speak a newer protocol.
var harmlessEnv = map[string]bool{"LANG": true, "LANGUAGE": true, "COLORTERM": true, "NO_COLOR": true, "GIT_PROTOCOL": true}

// maxEnvValue bounds a variable's value.
const maxEnvValue = 4 << 10

func (ch *channel) setEnv(payload []byte) bool {
	var v envVariable
	if err := ssh.Unmarshal(payload, &v); err != nil || ch.started || len(ch.env) >= maxEnv || len(v.Value) > maxEnvValue {
		return false
	}
	if v.Name == session.JustificationVariable {
		ch.why = v.Value
		return true
	}
	if !harmlessEnv[v.Name] && !strings.HasPrefix(v.Name, "LC_") {
		return false
	}
	if strings.Trim(v.Name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789") != "" || strings.ContainsAny(v.Value, "\x00\n`$(){};&|<>'\"\\/") {
		// Values of these are plain words; a slash would name a file (locales are loaded from some).
		return false
	}
	ch.env = append(ch.env, v)
	return true
}

// ptyRequest is RFC 4254 6.2.
type ptyRequest struct {
	Term                         string
	Columns, Rows, Width, Height uint32
	Modes                        string
}

func parsePTY(payload []byte) *ptyRequest {
	p := &ptyRequest{}
	if err := ssh.Unmarshal(payload, p); err != nil {
		return nil
	}
	return p
}

// asRefusal makes a refusal of any error.
func asRefusal(err error) *refusal {
	var r *refusal
	if errors.As(err, &r) {
		return r
	}
	return failure(err, err.Error(), "")
}
