package ssh_test

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/test/sshsidecar"
)

func TestASocketIsReachedByItsRule(t *testing.T) {
	path := filepath.Join(area(t, nil), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := os.Chmod(path, 0o777); err != nil { // the server's user is another than the test's
		t.Fatal(err)
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			fmt.Fprint(c, "from behind")
			c.Close()
		}
	}()
	to := func(address string) policy.Rule {
		r := forwarding("StreamLocal")
		r.Match.Addresses = []string{address}
		return r
	}
	for name, tc := range map[string]struct {
		rule policy.Rule
		ok   bool
	}{
		"its kind allows it":     {forwarding("StreamLocal"), true},
		"its path allows it":     {to(path), true},
		"another path does not":  {to(path + "2"), false},
		"another kind does not":  {forwarding("Local", "Remote"), false},
		"an empty rule does not": {allowAll, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := sshsidecar.Start(t, server, sshsidecar.SSH(server, tc.rule))
			conn, err := s.Client(t).Dial("unix", path)
			if !tc.ok {
				if err == nil || !strings.Contains(err.Error(), "forwarding") {
					t.Errorf("got %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if text, err := io.ReadAll(conn); err != nil || string(text) != "from behind" {
				t.Errorf("%q, %v", text, err)
			}
		})
	}
}

func TestASocketOfTheTargetIsListenedAtByItsRule(t *testing.T) {
	dir := area(t, nil)
	for name, tc := range map[string]struct {
		rule policy.Rule
		ok   bool
	}{
		"allowed": {forwarding("Remote"), true},
		"refused": {forwarding("Local", "StreamLocal"), false},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(dir, name)
			s := sshsidecar.Start(t, server, sshsidecar.SSH(server, tc.rule))
			l, err := s.Client(t).ListenUnix(path)
			if !tc.ok {
				if _, there := os.Stat(path); err == nil || there == nil {
					t.Error("it listens")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			go func() {
				if c, err := l.Accept(); err == nil {
					fmt.Fprint(c, "from the pod")
					c.Close()
				}
			}()
			conn, err := net.Dial("unix", path)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if text, err := io.ReadAll(conn); err != nil || string(text) != "from the pod" {
				t.Errorf("%q, %v", text, err)
			}
		})
	}
}
