package kube_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/record"
	"github.com/chaperone-dev/chaperone/test/kubeserver"
)

// inPod serves HTTP on a port of the pods.
func inPod(t testing.TB) (port string) {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, _ = fmt.Fprintf(w, "%s %d", r.URL.Path, len(body))
	}))
	t.Cleanup(s.Close)
	_, port, err := net.SplitHostPort(s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// forward runs kubectl port-forward and returns where it listens for each port, and what it complains of so far.
func forward(t testing.TB, s *kubeserver.Sidecar, environment []string, ports ...string) (at []string, complaints func() string) {
	t.Helper()
	config, dir := kubeconfig(t, s.Address(), s.CAPEM(), kubeserver.Placeholder)
	ctx, cancel := context.WithCancel(context.Background())
	args := []string{"port-forward", "solo"}
	for _, p := range ports {
		args = append(args, ":"+p)
	}
	cmd := exec.CommandContext(ctx, server.Kubectl, args...)
	cmd.Env = append(append(os.Environ(), "KUBECONFIG="+config, "HOME="+dir), environment...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	log := &lockedText{}
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait()
	})
	lines := bufio.NewScanner(out)
	for len(at) < len(ports) && lines.Scan() {
		if rest, ok := strings.CutPrefix(lines.Text(), "Forwarding from 127.0.0.1:"); ok {
			local, _, _ := strings.Cut(rest, " ")
			at = append(at, "127.0.0.1:"+local)
		}
	}
	if len(at) < len(ports) {
		t.Fatalf("kubectl port-forward: %s", log.String())
	}
	return at, log.String
}

type lockedText struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lockedText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestPortForwardCarriesConnections(t *testing.T) {
	port := inPod(t)
	overBoth(t, func(t *testing.T, environment []string, _ string) {
		s := front(t, sessions())
		at, _ := forward(t, s, environment, port)
		var all sync.WaitGroup
		for i := range 20 {
			all.Go(func() {
				size := i * 100_000
				answer, err := http.Post(fmt.Sprintf("http://%s/%d", at[0], i), "text/plain", strings.NewReader(strings.Repeat("x", size)))
				if err != nil {
					t.Error(err)
					return
				}
				defer answer.Body.Close()
				body, err := io.ReadAll(answer.Body)
				if err != nil || string(body) != fmt.Sprintf("/%d %d", i, size) {
					t.Errorf("%v %q", err, body)
				}
			})
		}
		all.Wait()
		if got := s.Log.Find(record.KindCommand, func(e record.Event) bool { return e.Text == "portforward solo -n shop "+port }); len(got) == 0 || got[0].Verdict != "Allow" {
			t.Errorf("%+v", s.Log.Events())
		}
	})
}

func TestPortForwardIsJudgedByPort(t *testing.T) {
	port, secret := inPod(t), inPod(t)
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		t.Fatal(err)
	}
	target := policy.Kubernetes{DefaultAction: policy.Deny, Rules: []policy.Rule{
		{Name: "pods", Action: policy.Allow, Match: policy.Match{Resources: []string{"pods"}}},
		{Name: "web", Action: policy.Allow, Match: policy.Match{Resources: []string{"pods/portforward"}, Ports: []uint16{uint16(number)}}},
	}}
	overBoth(t, func(t *testing.T, environment []string, _ string) {
		s := front(t, target)
		at, complaints := forward(t, s, environment, port, secret)
		if answer, err := http.Get("http://" + at[0] + "/x"); err != nil {
			t.Error(err)
		} else {
			answer.Body.Close()
		}
		if answer, err := http.Get("http://" + at[1] + "/x"); err == nil {
			answer.Body.Close()
			t.Error("the port was reached")
		}
		eventually(t, func() bool { return strings.Contains(complaints(), "refused by Chaperone") })
	})
}

func TestPortForwardIsRefusedWithoutARule(t *testing.T) {
	overBoth(t, func(t *testing.T, environment []string, _ string) {
		got := through(t, front(t, allowing()), environment, "", "port-forward", "solo", ":80")
		if got.code != 1 || !strings.Contains(got.stderr, "refused by Chaperone") {
			t.Errorf("%+v", got)
		}
	})
}

func TestAPortWaitsForItsApproval(t *testing.T) {
	port := inPod(t)
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		t.Fatal(err)
	}
	overBoth(t, func(t *testing.T, environment []string, _ string) {
		s := front(t, sessions(policy.Rule{
			Name: "asked", Action: policy.RequireApproval, Match: policy.Match{Resources: []string{"pods/portforward"}, Ports: []uint16{uint16(number)}},
			Approval: &policy.Approval{Required: 1, TimeoutSeconds: 300, WaitSeconds: 300},
		}))
		go func() {
			next(t, s, 1)
			s.Desk.Decide(1, "Approved", "")
		}()
		at, _ := forward(t, s, environment, port)
		answer, err := http.Get("http://" + at[0] + "/x")
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if s.Desk.Count() != 1 {
			t.Errorf("%d requests", s.Desk.Count())
		}
	})
}

func eventually(t testing.TB, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Error("it never happened")
			return
		}
	}
}
