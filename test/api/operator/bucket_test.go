package operator_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
	"github.com/chaperone-dev/chaperone/sidecar/record"
	"github.com/chaperone-dev/chaperone/test/s3"
)

// labelS3 marks what needs an S3 server: make test-s3.
const labelS3 = "s3"

// startBucket runs an S3 server of the spec's own, or skips the spec where there is none.
func startBucket(ctx context.Context) *s3.Server {
	GinkgoHelper()
	if os.Getenv(s3.ProgramVariable) == "" {
		Skip("make test-s3 runs it against a real server")
	}
	server, err := s3.New(GinkgoT().TempDir())
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(server.Stop)
	Expect(server.Start(ctx)).To(Succeed())
	return server
}

var _ = Describe("Two replicas with a bucket", Label(labelS3), func() {
	var server *s3.Server
	var first, second *operator
	var ns string
	var s *sidecar
	var address *atomic.Value
	BeforeEach(func(ctx SpecContext) {
		server = startBucket(ctx)
		ns = namespace(ctx, nil)
		first, second = startOperator(server.URL()), startOperator(server.URL())
		apply(ctx, &v1alpha1.AgentPolicy{}, ns, billingPolicy)
		s = first.startPod(ctx, ns, "agent", agent, nil)
		address = &atomic.Value{}
		address.Store(first.broker.Address().String())
	})
	spooling := func() (*record.Spool, *record.Connection) {
		GinkgoHelper()
		sp := spool(first.dial(s.token, func() string { return address.Load().(string) }))
		return sp, sp.Log(record.LogOptions{Target: "billing", Protocol: "postgres", Policies: []string{ns + "/billing"}}).Recorder()
	}
	command := func(r *record.Connection, text string) string {
		GinkgoHelper()
		Expect(r.Record(record.Event{Kind: record.KindCommand, Text: text, Verdict: "Allow"})).To(Succeed())
		return text
	}

	It("go on with each other's logs while both are replaced, and read them", func(ctx SpecContext) {
		sp, r := spooling()
		var texts []string
		for round := range 4 {
			for i := range 20 {
				texts = append(texts, command(r, fmt.Sprintf("SELECT %d.%d", round, i)))
			}
			Expect(r.Flush(ctx)).To(Succeed())
			By("rolling the replica that serves the sidecar")
			address.Store(second.broker.Address().String())
			first.stop()
			first, second = second, startOperator(server.URL())
		}
		closeSpool(sp)
		list := recordings(ctx, ns)
		Expect(list).To(HaveLen(1))
		for _, replica := range []*operator{first, second} {
			v, got := replica.verified(ctx, &list[0])
			Expect(v.State).To(Equal(record.Complete), v.Problem)
			Expect(got).To(Equal(texts))
		}
	}, SpecTimeout(4*time.Minute))

	It("lose nothing while the bucket is down, say so, and are not ready meanwhile", func(ctx SpecContext) {
		sp, r := spooling()
		texts := []string{command(r, "SELECT 'before'")}
		Expect(r.Flush(ctx)).To(Succeed())
		By("taking the bucket away")
		server.Stop()
		short, cancel := context.WithTimeout(ctx, 3*time.Second)
		defer cancel()
		texts = append(texts, command(r, "SELECT 'meanwhile'"))
		Expect(r.Flush(short)).NotTo(Succeed(), "nothing is acknowledged that is not in the bucket")
		for i := range 200 {
			texts = append(texts, command(r, fmt.Sprintf("SELECT %d", i)))
		}
		check, cancelCheck := context.WithTimeout(ctx, time.Second)
		defer cancelCheck()
		Expect(first.archive.Check(check, "replica-0")).NotTo(Succeed())
		By("bringing it back")
		Expect(server.Start(ctx)).To(Succeed())
		Expect(first.archive.Check(ctx, "replica-0")).To(Succeed())
		back, cancelBack := context.WithTimeout(ctx, 2*time.Minute)
		defer cancelBack()
		Expect(sp.Close(back)).To(Succeed())
		list := recordings(ctx, ns)
		Expect(list).To(HaveLen(1))
		v, got := first.verified(ctx, &list[0])
		Expect(v.State).To(Equal(record.Complete), v.Problem)
		Expect(got).To(Equal(texts))
	}, SpecTimeout(5*time.Minute))

	It("answer a long log from the middle", func(ctx SpecContext) {
		sp, r := spooling()
		for i := range 60 {
			command(r, fmt.Sprintf("SELECT %d /* %s */", i, strings.Repeat("x", 1000)))
			Expect(r.Flush(ctx)).To(Succeed()) // a chunk each
		}
		closeSpool(sp)
		sr := recordings(ctx, ns)[0]
		Expect(kube.Get(ctx, client.ObjectKeyFromObject(&sr), &sr)).To(Succeed())
		all, _ := first.verified(ctx, &sr)
		Expect(all.Chunks).To(BeNumerically(">=", 60))
		n := all.Chunks - 10
		for c, err := range second.archive.Chunks(ctx, ns, string(s.pod.UID), sr.Spec.Log, all.Chunks-10) {
			Expect(err).NotTo(HaveOccurred())
			Expect(c.Number).To(Equal(n))
			n++
		}
		Expect(n).To(Equal(all.Chunks))
	}, SpecTimeout(3*time.Minute))
})
