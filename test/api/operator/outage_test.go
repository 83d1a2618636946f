package operator_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/record"
)

const (
	// labelOutage marks what takes as long as the outage that it is about: make test-outage.
	labelOutage = "outage"
	// outageVariable says how long the bucket is away, rather than ten minutes.
	outageVariable = "CHAPERONE_OUTAGE"
)

// agentUnderOutage is a sidecar's spool with somebody who runs five commands a second behind it.
type agentUnderOutage struct {
	spool *record.Spool
	log   *record.Connection
	pod   string
	// kept are the commands that the spool took or, where it says Continue, seemed to take; refused counts the others.
	kept    []string
	refused int
	// acknowledged is how many of kept the operator had when the bucket went away.
	acknowledged int
	fault        error
	full         time.Duration // after the beginning of the outage, until the first refusal
}

func (a *agentUnderOutage) work(ctx context.Context, down time.Time) {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			a.command(down)
		}
	}
}

func (a *agentUnderOutage) command(down time.Time) {
	var noise [1000]byte // does not compress
	_, _ = rand.Read(noise[:])
	text := fmt.Sprintf("SELECT %d /* %s */", len(a.kept)+a.refused, hex.EncodeToString(noise[:]))
	if err := a.log.Record(record.Event{Kind: record.KindCommand, Text: text, Verdict: "Allow"}); err != nil {
		if a.refused++; a.fault == nil {
			a.fault, a.full = err, time.Since(down)
		}
		return
	}
	a.kept = append(a.kept, text)
}

// found is what the bucket has of it: the commands, and the words about those that are missing.
func (a *agentUnderOutage) found(ctx context.Context, o *operator, ns string) (texts, lost []string, states []record.State) {
	GinkgoHelper()
	list := slices.DeleteFunc(recordings(ctx, ns), func(r v1alpha1.SessionRecording) bool { return r.Spec.Pod.Name != a.pod })
	slices.SortFunc(list, func(a, b v1alpha1.SessionRecording) int { return a.Spec.StartTime.Compare(b.Spec.StartTime.Time) }) // one an hour
	for i := range list {
		pod, log := string(list[i].Spec.Pod.UID), list[i].Spec.Log
		meta, err := o.archive.Meta(ctx, ns, pod, log)
		Expect(err).NotTo(HaveOccurred())
		head, err := o.archive.Head(ctx, ns, pod, log)
		Expect(err).NotTo(HaveOccurred())
		var body bytes.Buffer
		Expect(record.WriteLog(&body, meta, o.archive.Chunks(ctx, ns, pod, log, 0), head)).To(Succeed())
		_, v, err := record.Verify(&body, func(_ record.Meta, _ *record.Chunk, events []record.Event) error {
			for _, e := range events {
				switch e.Kind {
				case record.KindCommand:
					texts = append(texts, e.Text)
				case record.KindLost:
					lost = append(lost, e.Error)
				}
			}
			return nil
		}, o.archive.Trusted(ctx, head)...)
		Expect(err).NotTo(HaveOccurred())
		Expect(v.Signed).To(Equal(v.Chunks), v.Problem)
		states = append(states, v.State)
	}
	return texts, lost, states
}

var _ = Describe("A bucket that is down for ten minutes", Label(labelOutage), func() {
	It("costs nothing that was acknowledged, and nothing at all while there is room in the spools", func(ctx SpecContext) {
		outage := 10 * time.Minute
		if text := os.Getenv(outageVariable); text != "" {
			var err error
			outage, err = time.ParseDuration(text)
			Expect(err).NotTo(HaveOccurred())
		}
		server := startBucket(ctx)
		ns := namespace(ctx, nil)
		first, second := startOperator(server.URL()), startOperator(server.URL())
		apply(ctx, &v1alpha1.AgentPolicy{}, ns, billingPolicy)
		address := &atomic.Value{}
		address.Store(first.broker.Address().String())

		// begin starts the sidecars of one kind, each at an address of its own.
		number := 0
		begin := func(kind string, n int, budget int64, onFailure policy.OnFailure) (out []*agentUnderOutage) {
			for i := range n {
				number++
				a := &agentUnderOutage{pod: fmt.Sprintf("%s-%d", kind, i)}
				s := first.startPod(ctx, ns, a.pod, agent, nil)
				client := first.dialFrom(fmt.Sprintf("127.0.7.%d", number), s.token, func() string { return address.Load().(string) })
				var err error
				a.spool, err = record.Open(record.Options{Dir: GinkgoT().TempDir(), Budget: budget, Uplink: client, Log: ctrl.Log.WithName(a.pod)})
				Expect(err).NotTo(HaveOccurred())
				a.log = a.spool.Log(record.LogOptions{Target: "billing", Protocol: "postgres", Policies: []string{ns + "/billing"}, OnFailure: onFailure}).Recorder()
				for range 10 {
					a.command(time.Now())
				}
				Expect(a.log.Flush(ctx)).To(Succeed())
				a.acknowledged = len(a.kept)
				out = append(out, a)
			}
			return out
		}
		ample := begin("ample", 4, 64<<20, policy.Block)
		block := begin("block", 2, 512<<10, policy.Block)
		lenient := begin("continue", 2, 512<<10, policy.Continue)
		all := slices.Concat(ample, block, lenient)

		By("taking the bucket away")
		server.Stop()
		down := time.Now()
		working, stop := context.WithCancel(ctx)
		defer stop()
		var workers sync.WaitGroup
		for _, a := range all {
			workers.Go(func() { a.work(working, down) })
		}
		for part := range 4 {
			Eventually(time.Now).WithContext(ctx).WithTimeout(outage + time.Minute).WithPolling(time.Second).Should(BeTemporally(">=", down.Add(outage*time.Duration(part+1)/5)))
			By(fmt.Sprintf("rolling the replica that serves, %s after", time.Since(down).Round(time.Second)))
			address.Store(second.broker.Address().String())
			first.stop()
			first, second = second, startOperator(server.URL())
			for name, o := range map[string]*operator{"first": first, "second": second} {
				check, cancel := context.WithTimeout(ctx, 5*time.Second)
				Expect(o.archive.Check(check, name)).NotTo(Succeed(), "a replica without its bucket is not ready")
				cancel()
			}
			short, cancel := context.WithTimeout(ctx, 3*time.Second)
			Expect(ample[0].log.Flush(short)).NotTo(Succeed(), "nothing is acknowledged that is not in the bucket")
			cancel()
		}
		Eventually(time.Now).WithContext(ctx).WithTimeout(outage + time.Minute).WithPolling(time.Second).Should(BeTemporally(">=", down.Add(outage)))
		stop()
		workers.Wait()
		waiting := int64(0)
		for _, a := range all {
			used, _ := a.spool.Used()
			waiting += used
		}
		for _, a := range ample {
			Expect(a.fault).NotTo(HaveOccurred())
		}
		for _, a := range block {
			Expect(a.fault).To(MatchError(record.ErrNotKept), "a full spool blocks")
			Expect(a.fault).To(MatchError(ContainSubstring("the spool is full")))
		}
		for _, a := range lenient {
			Expect(a.fault).NotTo(HaveOccurred(), "a full spool is no reason to block where the policy says so")
		}

		By("bringing it back")
		Expect(server.Start(ctx)).To(Succeed())
		back := time.Now()
		home, cancel := context.WithTimeout(ctx, 5*time.Minute)
		defer cancel()
		for _, a := range all {
			Expect(a.spool.Close(home)).To(Succeed())
		}
		caughtUp := time.Since(back)

		recorded, refused, missing := 0, 0, 0
		for _, a := range all {
			texts, lost, states := a.found(ctx, second, ns)
			Expect(len(a.kept)).To(BeNumerically(">", a.acknowledged))
			Expect(texts[:a.acknowledged]).To(Equal(a.kept[:a.acknowledged]), "what was acknowledged")
			recorded, refused = recorded+len(texts), refused+a.refused
			switch {
			case slices.Contains(ample, a):
				Expect(texts).To(Equal(a.kept))
				Expect(states).To(HaveEach(record.Complete))
				Expect(lost).To(BeEmpty())
			case slices.Contains(block, a):
				Expect(texts).To(Equal(a.kept), "what was not refused")
				Expect(strings.Join(lost, "\n")).To(ContainSubstring("missing: the spool is full"))
			default:
				var gone int
				for _, l := range lost {
					var n int
					_, err := fmt.Sscanf(l, "%d event", &n)
					Expect(err).NotTo(HaveOccurred(), l)
					Expect(l).To(ContainSubstring("missing: the spool is full"))
					gone += n
				}
				Expect(gone).To(BeNumerically(">", 0))
				Expect(len(texts)+gone).To(Equal(len(a.kept)), "what is not there is counted")
				missing += gone
			}
		}
		AddReportEntry("the outage", fmt.Sprintf("%s without the bucket, both replicas replaced twice: %d commands of 8 sidecars recorded and there, %d refused (Block, full after %s and %s), "+
			"%d missing and counted as such (Continue); %.1f MiB waited in the spools, all of it in the bucket %s after it was back",
			outage, recorded, refused, block[0].full.Round(time.Second), block[1].full.Round(time.Second), missing, float64(waiting)/(1<<20), caughtUp.Round(100*time.Millisecond)))
	}, SpecTimeout(40*time.Minute))
})
