package operator_test

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
	"github.com/chaperone-dev/chaperone/sidecar/control"
	"github.com/chaperone-dev/chaperone/sidecar/record"
)

// labelChaos marks what takes minutes: make chaos.
const labelChaos = "chaos"

const (
	chaosSessions = 1000
	// chaosOfOne is how many of them are one pod's: how many logs a pod may begin at once is another test's.
	chaosOfOne    = 40
	chaosWorkers  = 4
	childVariable = "CHAPERONE_CHAOS_CHILD"
	// sessionsVariable says how many sessions, rather than chaosSessions.
	sessionsVariable = "CHAPERONE_CHAOS_SESSIONS"
)

func TestMain(m *testing.M) {
	if arguments := os.Getenv(childVariable); arguments != "" {
		if err := chaosChild(strings.Split(arguments, ",")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// chaosChild is a sidecar's recording half as a process of its own: it takes over the spool that its predecessor left,
// records a session and says on its output what was acknowledged. Without a session it only brings the spool home.
func chaosChild(arguments []string) error {
	dir, address, session, namespace := arguments[0], arguments[1], arguments[2], arguments[3]
	roots, err := os.ReadFile(filepath.Join(dir, "roots"))
	if err != nil {
		return err
	}
	c, err := control.New(control.Options{
		Address: brokerName + ":443", RootPEM: roots, TokenFile: filepath.Join(dir, "token"), Version: "chaos", Log: logr.Discard(),
		Dial: func(ctx context.Context, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "tcp", address)
		},
	})
	if err != nil {
		return err
	}
	s, err := record.Open(record.Options{Dir: filepath.Join(dir, "spool"), Budget: 64 << 20, Uplink: c, Log: logr.Discard()})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if session != "" {
		r := s.Log(record.LogOptions{Target: "billing", Protocol: "ssh", Policies: []string{namespace + "/billing"}, Terminal: true}).Recorder()
		fmt.Println("begun")
		for n := 1; n <= 60; n++ {
			if err := r.Record(record.Event{Kind: record.KindCommand, Text: session + "/" + strconv.Itoa(n), Verdict: "Allow"}); err != nil {
				return err
			}
			if n%6 == 0 {
				if err := r.Flush(ctx); err != nil {
					return err
				}
				fmt.Println("acknowledged", n)
			}
		}
		if err := r.Close(); err != nil {
			return err
		}
	}
	return s.Close(ctx)
}

var _ = Describe("Chaos", Label(labelChaos), func() {
	It("loses no acknowledged command of 1,000 sessions whose sidecars and operator are killed at random", func(ctx SpecContext) {
		sessions := chaosSessions
		if text := os.Getenv(sessionsVariable); text != "" {
			var err error
			sessions, err = strconv.Atoi(text)
			Expect(err).NotTo(HaveOccurred())
		}
		o := startProcess(ctx, GinkgoT().TempDir())
		ns := namespace(ctx, nil)
		apply(ctx, &v1alpha1.AgentPolicy{}, ns, billingPolicy)
		var mu sync.Mutex // guards the counts
		acknowledged := map[string]int{}
		killed, whole, operators := 0, 0, 0

		child := func(dir, session string) *exec.Cmd {
			c := exec.Command(os.Args[0])
			c.Env = append(os.Environ(), childVariable+"="+strings.Join([]string{dir, o.broker, session, ns}, ","))
			c.Stderr = GinkgoWriter
			return c
		}
		run := func(dir, session string) {
			c := child(dir, session)
			out, err := c.StdoutPipe()
			Expect(err).NotTo(HaveOccurred())
			Expect(c.Start()).To(Succeed())
			lines := bufio.NewScanner(out)
			lines.Scan()
			if rand.N(5) > 0 { // one in five lives
				time.AfterFunc(rand.N(600*time.Millisecond), func() { _ = c.Process.Kill() })
			}
			for lines.Scan() {
				if n, err := strconv.Atoi(strings.TrimPrefix(lines.Text(), "acknowledged ")); err == nil {
					mu.Lock()
					acknowledged[session] = n
					mu.Unlock()
				}
			}
			err = c.Wait()
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				whole++
				return
			}
			Expect(err).To(MatchError(ContainSubstring("killed")))
			killed++
		}

		pods := make(chan int)
		var workers sync.WaitGroup
		for range chaosWorkers {
			workers.Go(func() {
				defer GinkgoRecover()
				for pod := range pods {
					s := o.startPod(ctx, ns, fmt.Sprintf("agent-%d", pod), agent, nil)
					dir := GinkgoT().TempDir()
					token, err := os.ReadFile(s.token)
					Expect(err).NotTo(HaveOccurred())
					Expect(os.WriteFile(filepath.Join(dir, "token"), token, 0o600)).To(Succeed())
					Expect(os.WriteFile(filepath.Join(dir, "roots"), o.roots, 0o600)).To(Succeed())
					Expect(os.Mkdir(filepath.Join(dir, "spool"), 0o700)).To(Succeed())
					for n := range min(chaosOfOne, sessions-pod*chaosOfOne) {
						run(dir, fmt.Sprintf("%d-%d", pod, n))
					}
					Expect(child(dir, "").Run()).To(Succeed(), "what is left in the spool is sent")
				}
			})
		}
		stop, stopped := make(chan struct{}), make(chan struct{})
		go func() {
			defer GinkgoRecover()
			defer close(stopped)
			for {
				select {
				case <-stop:
					return
				case <-time.After(2*time.Second + rand.N(6*time.Second)):
				}
				o.kill()
				o.start()
				operators++
				Eventually(o.serves).WithTimeout(time.Minute).Should(Succeed())
			}
		}()
		for pod := range (sessions + chaosOfOne - 1) / chaosOfOne {
			pods <- pod
		}
		close(pods)
		workers.Wait()
		close(stop)
		<-stopped

		By("verifying every log")
		found, logs := map[string]int{}, recordings(ctx, ns)
		for i := range logs {
			v, texts := o.verified(ctx, &logs[i])
			Expect(v.State).To(BeElementOf(record.Complete, record.Truncated), v.Problem)
			Expect(v.Signed).To(Equal(v.Chunks), "what is there is under the operator's signature")
			for _, text := range texts {
				session, number, _ := strings.Cut(text, "/")
				n, err := strconv.Atoi(number)
				Expect(err).NotTo(HaveOccurred())
				Expect(n).To(Equal(found[session]+1), "session %s has a gap", session)
				found[session] = n
			}
		}
		total, kept := 0, 0
		for session, n := range acknowledged {
			Expect(found[session]).To(BeNumerically(">=", n), "session %s", session)
			total, kept = total+n, kept+found[session]
		}
		AddReportEntry("chaos", fmt.Sprintf("%d sidecars killed, %d ended by themselves, operator killed %d times; %d logs; %d commands acknowledged, all there, and %d in all",
			killed, whole, operators, len(logs), total, kept))
		Expect(killed + whole).To(Equal(sessions))
		Expect(operators).To(BeNumerically(">", 0))
		Expect(total).To(BeNumerically(">", 0))
	}, SpecTimeout(40*time.Minute))
})
