package ssh

import (
	"fmt"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/chaperone-dev/chaperone/sidecar/record"
	"github.com/chaperone-dev/chaperone/test/sshsidecar"
)

// TestCommands runs every case of the files.
func TestCommands(t *testing.T) {
	needServer(t)
	all, err := families()
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	for _, f := range all {
		count += len(f.cases)
	}
	if count < 250 {
		t.Errorf("there are %d cases; whoever takes one away has to say why", count)
	}
	past := direct(t)
	adversaries := make(map[string]*adversary)
	for name, p := range policies() {
		s := sshsidecar.Start(t, server, p)
		adversaries[name] = &adversary{s, s.Client(t)}
	}
	furnish(t)
	for _, f := range all {
		t.Run(f.name, func(t *testing.T) {
			for _, c := range f.cases {
				t.Run(c.name, func(t *testing.T) {
					if c.harms() {
						a := execute(t, past, c.text, c.stdin)
						// What runs in the background may take a while.
						if !eventually(func() bool { return untouched() != "" }) {
							t.Errorf("past the sidecar this does no harm: %s", a)
						}
						furnish(t)
					}
					for name, a := range adversaries {
						if only := c.options["policy"]; only == "" || only == name {
							a.try(t, name, c)
						}
					}
				})
			}
		})
	}
	// What ran in the background has had its time.
	if changed := untouched(); changed != "" {
		t.Errorf("at the end: %s", changed)
	}
	for name, a := range adversaries {
		if got := execute(t, a.client, "echo still here", ""); got.stdout != "still here\n" {
			t.Errorf("under %s the connection is of no use any more: %s", name, got)
		}
	}
}

// adversary is a connection to a sidecar.
type adversary struct {
	sidecar *sshsidecar.Sidecar
	client  *ssh.Client
}

func (a *adversary) try(t *testing.T, under string, c *script) {
	t.Helper()
	before := a.recorded()
	got := execute(t, a.client, c.text, c.stdin)
	if changed := untouched(); changed != "" {
		t.Errorf("under %s: %s; received %s", under, changed, got)
		furnish(t)
	}
	if _, passes := c.options["passes"]; !passes {
		if why := got.refused(); why != "" {
			t.Errorf("under %s it is not refused, %s: %s", under, why, got)
		}
		if got.stdout != "" {
			t.Errorf("under %s something ran: %s", under, got)
		}
	}
	if a.recorded() == before {
		t.Errorf("under %s it is not recorded", under)
	}
}

// recorded is how many commands were recorded.
func (a *adversary) recorded() int {
	events := a.sidecar.Log.Events()
	n := 0
	for _, e := range events {
		if e.Kind == record.KindCommand {
			if e.Digest == "" || e.Verdict == "" {
				panic(fmt.Sprintf("a command without digest or verdict: %+v", e))
			}
			n++
		}
	}
	return n
}
