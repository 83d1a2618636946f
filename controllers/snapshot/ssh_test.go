package snapshot_test

import (
	"testing"

	"github.com/chaperone-dev/chaperone/controllers/snapshot"
)

func TestScriptsAreInterpretedWhereThePolicySaysSo(t *testing.T) {
	const bastion = `
spec:
  podSelector: {}
  targets:
  - name: bastion
    hosts: [bastion.example]
    port: 22
    ssh:
      user: deploy
      knownHosts: {configMapKeyRef: {name: hosts, key: known_hosts}}
`
	for text, want := range map[string]bool{bastion: false, bastion + "      shell: Forward\n": false, bastion + "      shell: Interpret\n": true} {
		got, err := snapshot.Policy(parse(t, text), nil)
		if err != nil {
			t.Fatal(err)
		}
		if got.Targets[0].SSH.Interpret != want {
			t.Errorf("%s is %+v", text, got.Targets[0].SSH)
		}
	}
}
