package kube_test

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chaperone-dev/chaperone/sidecar/record"
	"github.com/chaperone-dev/chaperone/test/kubeserver"
)

const (
	// more is what no buffers on the way hold.
	more = 48 << 20
	// bound is how long one write to an agent may take, which otherwise is two minutes.
	bound = 2 * time.Second
)

func impatient(t *testing.T) *kubeserver.Sidecar {
	t.Helper()
	s, err := kubeserver.FrontWithin(t.Context(), bound, t.TempDir(), server.Address, token, server.CAPEM(), sessions())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return s
}

// road leads to a sidecar, and counts what goes that way.
type road struct {
	net.Listener
	to     string
	passed atomic.Int64

	mu    sync.Mutex // guards conns
	conns []*net.TCPConn
}

func lead(t *testing.T, to string) *road {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &road{Listener: l, to: to}
	t.Cleanup(func() {
		l.Close()
		r.reset()
	})
	go func() {
		for {
			agent, err := l.Accept()
			if err != nil {
				return
			}
			go r.carry(agent)
		}
	}()
	return r
}

func (r *road) Write(p []byte) (int, error) {
	r.passed.Add(int64(len(p)))
	return len(p), nil
}

func (r *road) carry(agent net.Conn) {
	defer agent.Close()
	conn, err := net.Dial("tcp", r.to)
	if err != nil {
		return
	}
	defer conn.Close()
	r.mu.Lock()
	r.conns = append(r.conns, conn.(*net.TCPConn))
	r.mu.Unlock()
	go func() { _, _ = io.Copy(conn, io.TeeReader(agent, r)) }()
	_, _ = io.Copy(agent, conn)
}

// reset ends all connections at once, as the kernel does for a process that is killed with something unread.
func (r *road) reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.conns {
		_ = c.SetLinger(0)
		c.Close()
	}
}

// stuck waits until nothing passes any more.
func (r *road) stuck(t *testing.T) {
	t.Helper()
	for last, since := r.passed.Load(), time.Now(); last < 1<<20 || time.Since(since) < 2*time.Second; time.Sleep(50 * time.Millisecond) {
		if now := r.passed.Load(); now != last {
			last, since = now, time.Now()
		}
		if t.Context().Err() != nil {
			t.Fatal("nothing passes")
		}
	}
}

// begin starts kubectl, whose input and output are the test's.
func begin(t *testing.T, s *kubeserver.Sidecar, address string, environment []string, stdin io.Reader, stdout io.Writer, args ...string) *exec.Cmd {
	t.Helper()
	config, dir := kubeconfig(t, address, s.CAPEM(), kubeserver.Placeholder)
	cmd := exec.CommandContext(t.Context(), server.Kubectl, args...)
	cmd.Env = append(append(os.Environ(), "KUBECONFIG="+config, "HOME="+dir), environment...)
	cmd.Stdin, cmd.Stdout = stdin, stdout
	cmd.WaitDelay = time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd
}

// ending waits for the result of the session; requests for what there is are answered with 200 before it.
func ending(s *kubeserver.Sidecar) []record.Event {
	return s.Log.FindWithin(time.Minute, record.KindResult, func(e record.Event) bool { return e.Tag != "200" })
}

func TestAProgramMayLeaveItsInputUnreadForLongerThanAnAgentItsOutput(t *testing.T) {
	t.Parallel()
	for transport, environment := range transports {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			s := impatient(t)
			way, sign := lead(t, s.Address()), filepath.Join(t.TempDir(), "sign")
			var out strings.Builder
			cmd := begin(t, s, way.Addr().String(), environment, strings.NewReader(strings.Repeat("x", more)), &out,
				"exec", "-i", "solo", "--", "sh", "-c", fmt.Sprintf("until [ -e %s ]; do sleep 0.1; done; wc -c; exit 3", sign))
			way.stuck(t)
			time.Sleep(2*bound + bound/2) // so that the bound, had it been one, would have passed
			if err := os.WriteFile(sign, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait()
			if got := strings.TrimSpace(out.String()); got != fmt.Sprint(more) || cmd.ProcessState.ExitCode() != 3 {
				t.Errorf("%q, exit code %d", got, cmd.ProcessState.ExitCode())
			}
		})
	}
}

func TestAnAgentThatIsGoneIsNoticedWhileItsInputIsUnread(t *testing.T) {
	t.Parallel()
	for transport, environment := range transports {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			s := impatient(t)
			way := lead(t, s.Address())
			cmd := begin(t, s, way.Addr().String(), environment, strings.NewReader(strings.Repeat("x", more)), io.Discard, "exec", "-i", "solo", "--", "sleep", "120")
			way.stuck(t)
			way.reset()
			_ = cmd.Wait()
			if ended := ending(s); len(ended) != 1 {
				t.Errorf("the session goes on without its agent: %+v", s.Log.Events())
			}
		})
	}
}

func TestAnAgentThatLeavesTheOutputUnreadLosesItsSession(t *testing.T) {
	t.Parallel()
	for transport, environment := range transports {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			s := impatient(t)
			read, write, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer read.Close()
			cmd := begin(t, s, s.Address(), environment, nil, write, "exec", "solo", "--", "sh", "-c", fmt.Sprintf("head -c %d /dev/zero; sleep 120", 4*more))
			write.Close()
			if ended := ending(s); len(ended) != 1 || ended[0].Tag != "" {
				t.Errorf("the session goes on without being read: %+v", s.Log.Events())
			}
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		})
	}
}
