package ssh_test

import (
	"os"
	"strings"
	"testing"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/record"
	"github.com/chaperone-dev/chaperone/test/sshsidecar"
)

func TestARefusalNamesThePathAsItWasAsked(t *testing.T) {
	dir := area(t, map[string]string{"open/a": "", "shut/hidden/secret": "sesame"})
	if err := os.Symlink("../shut/hidden", dir+"/open/folder"); err != nil {
		t.Fatal(err)
	}
	s := sshsidecar.Start(t, needServer(t), sshsidecar.SSH(server, files("shut", policy.Deny, nil, dir+"/shut/**"), allowSFTP))
	tests := map[string]struct{ does, says, records string }{
		"a file that is removed":    {"rm DIR/open/folder/secret", "remove of DIR/open/folder/secret is not allowed", "sftp remove DIR/shut/hidden/secret"},
		"a folder that is listed":   {"ls DIR/open/folder/", "DIR/open/folder/ is not allowed", "sftp stat DIR/shut/hidden"},
		"a file that is renamed to": {"rename DIR/open/a DIR/open/folder/secret", "(DIR/open/folder/secret) is not allowed", "sftp rename DIR/open/a DIR/shut/hidden/secret"},
		"a way there and back":      {"rm DIR/open/folder/../../open/a", "realpath of DIR/open/folder/.. is not allowed", "sftp remove DIR/open/a"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			within := strings.NewReplacer("DIR", dir)
			got := batch(t, s, within.Replace(test.does))
			if got.status == 0 || !strings.Contains(got.stderr, within.Replace(test.says)) || strings.Contains(got.stderr, "hidden") {
				t.Errorf("got %+v", got)
			}
			kept := s.Log.Find(record.KindCommand, func(e record.Event) bool {
				return e.Text == within.Replace(test.records) && e.Verdict == string(policy.Deny)
			})
			if len(kept) == 0 {
				t.Errorf("%q is not in the record", within.Replace(test.records))
			}
		})
	}
}
