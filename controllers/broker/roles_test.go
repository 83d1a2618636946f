package broker

import (
	"strings"
	"testing"

	"github.com/chaperone-dev/chaperone/sidecar/control/controlpb"
)

func TestWhatASidecarSaysOfRolesIsBounded(t *testing.T) {
	hostile := &controlpb.Role{Policy: strings.Repeat("p", 10_000), Name: "a\x1b[2J\n" + strings.Repeat("é", 1000), Powers: make([]string, 1000)}
	many := make([]*controlpb.Role, 1000)
	for i := range many {
		many[i] = hostile
	}
	got := rolesOf(many)
	if len(got) != maxRoles {
		t.Errorf("%d roles are kept", len(got))
	}
	r := got[0]
	if len(r.Policy) > maxName || len([]rune(r.Name)) > maxRoleName || len(r.Powers) != maxPowers || strings.ContainsAny(r.Name, "\x1b\n") {
		t.Errorf("kept %d bytes of policy, %q, %d powers", len(r.Policy), r.Name, len(r.Powers))
	}
	if rolesOf([]*controlpb.Role{nil})[0].Name != "" {
		t.Error("a role that is none has a name")
	}
}
