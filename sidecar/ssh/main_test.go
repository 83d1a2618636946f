package ssh_test

import (
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/test/sshserver"
)

// server is the sshd that all tests of the package share; nil where the tests do not run as root.
var server *sshserver.Server

func TestMain(m *testing.M) {
	code, err := runTests(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(code)
}

func runTests(m *testing.M) (int, error) {
	var err error
	server, err = sshserver.Start()
	switch {
	case errors.Is(err, sshserver.ErrNeedsRoot):
	case err != nil:
		return 1, err
	default:
		defer server.Stop()
	}
	return m.Run(), nil
}

// needServer skips a test where there is no sshd.
func needServer(t testing.TB) *sshserver.Server {
	t.Helper()
	if server == nil {
		t.Skip(sshserver.ErrNeedsRoot)
	}
	return server
}

func yes() *bool { b := true; return &b }

// Rules that tests share.
var (
	allowAll   = policy.Rule{Name: "all", Match: policy.Match{Unresolved: nil}, Action: policy.Allow}
	allowShell = policy.Rule{Name: "terminals", Match: policy.Match{Interactive: yes()}, Action: policy.Allow}
)

func allow(programs ...string) policy.Rule {
	return policy.Rule{Name: "allowed", Match: policy.Match{Programs: programs}, Action: policy.Allow}
}
