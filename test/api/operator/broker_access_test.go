package operator_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
	"github.com/chaperone-dev/chaperone/sidecar/control"
	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/postgres"
	"github.com/chaperone-dev/chaperone/sidecar/record"
	"github.com/chaperone-dev/chaperone/sidecar/session"
	"github.com/chaperone-dev/chaperone/test/postgresserver"
)

// accessHost is the policy's name for the database; the sidecar of the test dials the real one whatever its name.
const accessHost = "billing-db.prod.svc"

// gate is a pod's sidecar, as far as a PostgreSQL session needs it, in front of a real server.
type gate struct {
	client   *control.Client
	policies *control.Policies
	listener net.Listener
	filed    chan string // names of requests
}

// filing tells the names of requests that commands wait for.
type filing struct {
	session.Approvals
	names chan<- string
}

func (f filing) Await(ctx context.Context, ask session.Ask, notify func(string)) (*session.Grant, error) {
	return f.Approvals.Await(ctx, ask, func(name string) {
		select {
		case f.names <- name:
		default: // a spec that asks for none
		}
		if notify != nil {
			notify(name)
		}
	})
}

func startGate(c *control.Client, server *postgresserver.Server) *gate {
	GinkgoHelper()
	g := &gate{client: c, policies: follow(c), filed: make(chan string, 64)}
	var err error
	g.listener, err = net.Listen("tcp", "127.0.0.1:0")
	Expect(err).NotTo(HaveOccurred())
	sp := spool(c)
	protocol := postgres.New(postgres.Options{})
	ctx, cancel := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	rules := func() *policy.Destination {
		current, err := g.policies.Current()
		if err != nil {
			return nil
		}
		return current.Lookup(accessHost, 5432)
	}
	serving.Go(func() {
		for {
			conn, err := g.listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				_ = protocol.Serve(ctx, &session.Session{
					Agent: conn, Original: netip.MustParseAddrPort("192.0.2.7:5432"), Host: accessHost, Rules: rules,
					Leaf: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, errors.New("no TLS here") },
					DialUpstream: func(ctx context.Context) (net.Conn, error) {
						return (&net.Dialer{}).DialContext(ctx, "tcp", server.Address())
					},
					Credentials: c, Approvals: filing{c, g.filed},
					Recorder: sp.Log(record.LogOptions{Target: "billing", Protocol: "postgres"}).Recorder(),
					Log:      ctrl.Log.WithName("session"),
				})
			})
		}
	})
	DeferCleanup(func() {
		cancel()
		g.listener.Close()
		serving.Wait()
		closeSpool(sp)
	})
	Eventually(rules).WithTimeout(30 * time.Second).ShouldNot(BeNil())
	return g
}

// connect begins a session as an agent does.
func (g *gate) connect(ctx context.Context, database string) (*pgconn.PgConn, error) {
	_, port, err := net.SplitHostPort(g.listener.Addr().String())
	if err != nil {
		return nil, err
	}
	return pgconn.Connect(ctx, fmt.Sprintf("host=127.0.0.1 port=%s user=whoever dbname=%s sslmode=disable application_name='ticket 4711'", port, database))
}

// connecting is a session that waits to begin.
type connecting struct {
	done chan struct{}
	conn *pgconn.PgConn
	err  error
}

func (g *gate) connecting(ctx context.Context, database string) *connecting {
	c := &connecting{done: make(chan struct{})}
	go func() {
		defer close(c.done)
		c.conn, c.err = g.connect(ctx, database)
	}()
	DeferCleanup(func(ctx SpecContext) {
		<-c.done
		if c.conn != nil {
			_ = c.conn.Close(ctx)
		}
	})
	return c
}

func (c *connecting) begun() *pgconn.PgConn {
	GinkgoHelper()
	Eventually(c.done).WithTimeout(30 * time.Second).Should(BeClosed())
	Expect(c.err).NotTo(HaveOccurred())
	return c.conn
}

func runs(ctx context.Context, conn *pgconn.PgConn) error {
	_, err := conn.Exec(ctx, "SELECT 1").ReadAll()
	return err
}

var _ = Describe("Access to a target that people grant", Ordered, ContinueOnFailure, func() {
	var server *postgresserver.Server
	BeforeAll(func() {
		var err error
		server, err = postgresserver.Start()
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(server.Stop)
	})

	var o *operator
	var ns string
	// begin applies a policy whose target has this access section and starts a pod behind it.
	begin := func(ctx context.Context, access string, enforcement v1alpha1.Enforcement) *gate {
		GinkgoHelper()
		ns = namespace(ctx, nil)
		o = startOperator(GinkgoT().TempDir())
		apply(ctx, &corev1.Secret{}, ns, "metadata: {name: billing-db}\ntype: kubernetes.io/basic-auth\nstringData: {username: %s, password: %s}",
			postgresserver.Superuser, server.Password)
		apply(ctx, &v1alpha1.AgentPolicy{}, ns, `
metadata: {name: billing}
spec:
  podSelector: {matchLabels: {app: agent}}
  enforcement: %s
  targets:
  - name: billing
    hosts: [%s]
    port: 5432
    access: %s
    postgres:
      tls: {mode: Require}
      credentials: {secretRef: {name: billing-db}}
      defaultAction: Allow`, enforcement, accessHost, access)
		return startGate(o.connect(o.startPod(ctx, ns, "agent", agent, nil).token), server)
	}
	requests := func(ctx context.Context) []v1alpha1.ApprovalRequest {
		GinkgoHelper()
		list := &v1alpha1.ApprovalRequestList{}
		Expect(kube.List(ctx, list, client.InNamespace(ns))).To(Succeed())
		return list.Items
	}
	// request waits for request number n.
	request := func(ctx context.Context, n int) v1alpha1.ApprovalRequest {
		GinkgoHelper()
		Eventually(func() []v1alpha1.ApprovalRequest { return requests(ctx) }).WithTimeout(30 * time.Second).Should(HaveLen(n))
		list := requests(ctx)
		newest := list[0]
		for _, r := range list {
			if len(r.Spec.Decisions) == 0 {
				newest = r
			}
		}
		return newest
	}
	lease := func(ctx context.Context, g *gate) func() error {
		return func() error { _, err := g.client.Lease(ctx, ns+"/billing", "billing"); return err }
	}
	grantFor := func(d time.Duration) v1alpha1.StampedDecision {
		return v1alpha1.StampedDecision{Verdict: v1alpha1.VerdictApprove, Duration: &metav1.Duration{Duration: d}}
	}

	It("leases the credential only while a grant stands, and ends live sessions with it", func(ctx SpecContext) {
		g := begin(ctx, "{approval: {groups: [dba], timeout: 2m}, maxDuration: 1h}", v1alpha1.EnforcementEnforce)
		Expect(lease(ctx, g)()).To(MatchError(ContainSubstring("no grant stands for this pod")))
		first := g.connecting(ctx, "postgres")
		ar := request(ctx, 1)
		Expect(ar.Spec.Rule).To(Equal("access"))
		Expect(ar.Spec.Command.Text).To(Equal(`connect to database "postgres" as user "whoever" of target billing`))
		Expect(ar.Spec.Justification).To(Equal("ticket 4711"))
		Expect(ar.Spec.Approval.MaxDuration.Duration).To(Equal(time.Hour))
		Expect(lease(ctx, g)()).To(MatchError(ContainSubstring("no grant stands for this pod")), "a request is no grant")

		decide(ctx, o.keys.DecisionMAC, ns, ar.Name, "alice", grantFor(20*time.Second))
		conn := first.begun()
		Expect(runs(ctx, conn)).To(Succeed())
		Expect(lease(ctx, g)()).To(Succeed())
		By("beginning another session within the grant, which asks nobody")
		second := g.connecting(ctx, "postgres").begun()
		Expect(runs(ctx, second)).To(Succeed())
		Expect(requests(ctx)).To(HaveLen(1))
		By("asking for another database, which is another session")
		other := g.connecting(ctx, "template1")
		_ = request(ctx, 2)

		By("waiting for the end")
		for _, live := range []*pgconn.PgConn{conn, second} {
			Eventually(func() error { return runs(ctx, live) }).WithTimeout(60 * time.Second).Should(
				MatchError(And(ContainSubstring("57P01"), ContainSubstring("the time that access was granted for is over"), ContainSubstring(ar.Name))))
		}
		Eventually(lease(ctx, g)).WithTimeout(30 * time.Second).Should(MatchError(ContainSubstring("no grant stands for this pod")))
		decide(ctx, o.keys.DecisionMAC, ns, request(ctx, 2).Name, "alice", v1alpha1.StampedDecision{Verdict: v1alpha1.VerdictDeny, Reason: "not that one"})
		Eventually(other.done).WithTimeout(30 * time.Second).Should(BeClosed())
		Expect(other.err).To(MatchError(ContainSubstring("not that one")))
		By("connecting again, which asks again")
		again := g.connecting(ctx, "postgres")
		decide(ctx, o.keys.DecisionMAC, ns, request(ctx, 3).Name, "alice", v1alpha1.StampedDecision{Verdict: v1alpha1.VerdictApprove})
		Expect(runs(ctx, again.begun())).To(Succeed())
	}, SpecTimeout(4*time.Minute))

	It("ends a session that was granted once after the policy's time, and asks for each", func(ctx SpecContext) {
		g := begin(ctx, "{approval: {groups: [dba]}, maxDuration: 5s}", v1alpha1.EnforcementEnforce)
		first := g.connecting(ctx, "postgres")
		decide(ctx, o.keys.DecisionMAC, ns, request(ctx, 1).Name, "alice", v1alpha1.StampedDecision{Verdict: v1alpha1.VerdictApprove})
		conn := first.begun()
		Eventually(func() error { return runs(ctx, conn) }).WithTimeout(60 * time.Second).Should(MatchError(ContainSubstring("the time that access was granted for is over")))
		_ = g.connecting(ctx, "postgres")
		ar := request(ctx, 2)
		decide(ctx, o.keys.DecisionMAC, ns, ar.Name, "alice", v1alpha1.StampedDecision{Verdict: v1alpha1.VerdictDeny})
	}, SpecTimeout(3*time.Minute))

	It("begins no session after another approver has withdrawn the grant", func(ctx SpecContext) {
		g := begin(ctx, "{approval: {groups: [dba], wait: 0s}, maxDuration: 1h}", v1alpha1.EnforcementEnforce)
		_, err := g.connect(ctx, "postgres")
		Expect(err).To(MatchError(ContainSubstring("waiting for approval")))
		ar := request(ctx, 1)
		decide(ctx, o.keys.DecisionMAC, ns, ar.Name, "alice", grantFor(30*time.Minute))
		Eventually(func() error { _, err := g.connect(ctx, "postgres"); return err }).WithTimeout(30 * time.Second).Should(Succeed())
		decide(ctx, o.keys.DecisionMAC, ns, ar.Name, "bob", v1alpha1.StampedDecision{Verdict: v1alpha1.VerdictDeny, Reason: "the incident is over"})
		Eventually(func() error { _, err := g.connect(ctx, "postgres"); return err }).WithTimeout(30 * time.Second).Should(
			MatchError(ContainSubstring("denied by bob: the incident is over")))
		Eventually(lease(ctx, g)).WithTimeout(30 * time.Second).Should(MatchError(ContainSubstring("no grant stands for this pod")))
	}, SpecTimeout(3*time.Minute))

	It("asks nobody under a policy in Audit", func(ctx SpecContext) {
		g := begin(ctx, "{approval: {groups: [dba]}}", v1alpha1.EnforcementAudit)
		conn, err := g.connect(ctx, "postgres")
		Expect(err).NotTo(HaveOccurred())
		Expect(runs(ctx, conn)).To(Succeed())
		Expect(requests(ctx)).To(BeEmpty())
	}, SpecTimeout(3*time.Minute))

	It("refuses a bound for grants at the wrong place", func(ctx SpecContext) {
		ap := &v1alpha1.AgentPolicy{}
		ns := namespace(ctx, nil)
		ap.Namespace, ap.Name = ns, "wrong"
		ap.Spec.Targets = []v1alpha1.Target{{
			Name: "billing", Hosts: []v1alpha1.Host{accessHost}, Port: new(v1alpha1.Port), Postgres: &v1alpha1.PostgresTarget{},
			Access: &v1alpha1.Access{Approval: &v1alpha1.Approval{MaxDuration: &metav1.Duration{Duration: time.Hour}}},
		}}
		*ap.Spec.Targets[0].Port = 5432
		Expect(kube.Create(ctx, ap)).To(MatchError(ContainSubstring("access.maxDuration bounds what is granted for sessions")))
	}, SpecTimeout(time.Minute))
})
