package ssh_test

import (
	"os"
	"strings"
	"testing"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/test/sshsidecar"
)

func TestArgumentsDecideOverWhatRuns(t *testing.T) {
	dir := area(t, nil)
	for name, tc := range map[string]struct {
		match   policy.Match
		command string
		runs    bool
	}{
		"a glob that matches":               {policy.Match{Programs: []string{"touch"}, Arguments: []string{dir + "/a*"}}, "touch " + dir + "/a1", true},
		"a glob that does not":              {policy.Match{Programs: []string{"touch"}, Arguments: []string{dir + "/a*"}}, "touch " + dir + "/b1", false},
		"an expression that matches":        {policy.Match{Programs: []string{"touch"}, Arguments: []string{"/^.*c[0-9]$/"}}, "touch " + dir + "/c1", true},
		"an expression that does not":       {policy.Match{Programs: []string{"touch"}, Arguments: []string{"/^.*c[0-9]$/"}}, "touch " + dir + "/cx", false},
		"what is not known, where allowed":  {policy.Match{Programs: []string{"touch"}, Unresolved: yes()}, "touch " + dir + "/d1 $NOTHING", true},
		"what is not known, where not said": {policy.Match{Programs: []string{"touch"}, Arguments: []string{dir + "/*"}}, "touch " + dir + "/e1 $NOTHING", false},
	} {
		t.Run(name, func(t *testing.T) {
			s := sshsidecar.Start(t, server, sshsidecar.SSH(server, policy.Rule{Name: "files", Match: tc.match, Action: policy.Allow}))
			got := run(t, s.Command("ssh", Host, tc.command), "")
			_, err := os.Stat(strings.Fields(tc.command)[1])
			if tc.runs != (got.status == 0) || tc.runs != (err == nil) || !tc.runs && got.status != 126 {
				t.Errorf("got %+v, the file: %v", got, err)
			}
		})
	}
}
