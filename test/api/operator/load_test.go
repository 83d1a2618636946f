package operator_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
	"github.com/chaperone-dev/chaperone/sidecar/control"
	"github.com/chaperone-dev/chaperone/sidecar/layout"
	"github.com/chaperone-dev/chaperone/sidecar/record"
	"github.com/chaperone-dev/chaperone/test/postgresserver"
)

// labelLoad marks what takes minutes: make load.
const labelLoad = "load"

// sidecarsVariable says how many sidecars make load simulates. Default 500.
const sidecarsVariable = "CHAPERONE_LOAD_SIDECARS"

// togetherVariable, where it is set, has all sidecars of make load record in the same moment, every two seconds, which is the
// worst that so many commands can do. By default they are spread evenly.
const togetherVariable = "CHAPERONE_LOAD_TOGETHER"

// every is how often each sidecar records a command.
const every = 2 * time.Second

// approvalsEach is how many approvals a row of the report has; a hundred, so that the 99th percentile is not the most.
const approvalsEach = 100

// approving is how many of the sidecars have a database behind them: a pod may file 30 requests at once, and some ten a
// minute after that.
const approving = 20

// quantiles are a line of a report.
func quantiles(all []time.Duration) string {
	slices.Sort(all)
	at := func(q float64) time.Duration { return all[int(q*float64(len(all)-1))].Round(100 * time.Microsecond) }
	return fmt.Sprintf("p50 %s, p90 %s, p99 %s, most %s (%d)", at(.5), at(.9), at(.99), at(1), len(all))
}

var _ = Describe("Load", Label(labelLoad), func() {
	It("serves many sidecars", func(ctx SpecContext) {
		count := 500
		if text := os.Getenv(sidecarsVariable); text != "" {
			var err error
			count, err = strconv.Atoi(text)
			Expect(err).NotTo(HaveOccurred())
		}
		o := startProcess(ctx, GinkgoT().TempDir())
		ns := namespace(ctx, nil)
		server, err := postgresserver.Start()
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(server.Stop)
		direct, err := pgconn.Connect(ctx, server.DSN(postgresserver.Superuser, server.Password, "postgres"))
		Expect(err).NotTo(HaveOccurred())
		_, err = direct.Exec(ctx, "CREATE TABLE load (n int, what text); INSERT INTO load VALUES (0)").ReadAll()
		Expect(err).NotTo(HaveOccurred())
		Expect(direct.Close(ctx)).To(Succeed())
		apply(ctx, &corev1.Secret{}, ns, "metadata: {name: billing-db}\ntype: kubernetes.io/basic-auth\nstringData: {username: %s, password: %s}",
			postgresserver.Superuser, server.Password)
		ap := apply(ctx, &v1alpha1.AgentPolicy{}, ns, "%s", strings.Replace(billingPolicy, "      rules:", "      tls: {mode: Require}\n      rules:", 1))
		o.admit(ctx)
		person := newApprover(ctx, ns, "dana", "dba")
		report := func(what, says string) {
			AddReportEntry(what, says)
			fmt.Fprintf(GinkgoWriter, "%s: %s\n", what, says)
		}

		before := o.usage(ctx)
		report("idle", fmt.Sprintf("memory (RSS) %d MiB", before.resident>>20))
		clients, policies := make([]*control.Client, count), make([]*control.Policies, count)
		pods, tokens := make([]*corev1.Pod, count), make([]string, count)
		for i := range count {
			s := o.startPod(ctx, ns, fmt.Sprintf("agent-%d", i), agent, nil)
			pods[i] = s.pod
			clients[i] = o.dialFrom(fmt.Sprintf("127.%d.%d.1", 1+i/250, 1+i%250), s.token, func() string { return o.broker })
			policies[i] = follow(clients[i])
		}
		var gates []*gate
		for i := range min(approving, count) {
			gates = append(gates, startGate(clients[i], server))
		}
		generation := func(p *control.Policies) int64 {
			current, err := p.Current()
			if err != nil || len(current.Set().Policies) != 1 {
				return 0
			}
			return current.Set().Policies[0].Generation
		}
		arrive := func(want int64, from time.Time) []time.Duration {
			GinkgoHelper()
			out := make([]time.Duration, 0, count)
			there := make([]bool, count)
			for len(out) < count {
				Expect(ctx.Err()).NotTo(HaveOccurred())
				for i, p := range policies {
					if !there[i] && generation(p) >= want {
						there[i] = true
						out = append(out, time.Since(from))
					}
				}
				time.Sleep(time.Millisecond)
			}
			return out
		}
		arrive(1, time.Now())
		report(fmt.Sprintf("%d sidecars connect", count), o.usage(ctx).since(before))

		By("doing nothing")
		before = o.usage(ctx)
		time.Sleep(15 * time.Second)
		report("connected, nothing happens", o.usage(ctx).since(before))

		By("changing the policy")
		before = o.usage(ctx)
		var all []time.Duration
		for i := range 15 {
			before := ap.DeepCopy()
			ap.Spec.Targets[0].Postgres.DefaultAction = []v1alpha1.Action{v1alpha1.ActionAllow, v1alpha1.ActionDeny}[i%2]
			begin := time.Now()
			Expect(kube.Patch(ctx, ap, client.MergeFrom(before))).To(Succeed())
			all = append(all, arrive(ap.Generation, begin)...)
			time.Sleep(500 * time.Millisecond)
		}
		report("policy changes", o.usage(ctx).since(before))
		report("from the change of a policy to every sidecar", quantiles(all))

		By("recording")
		together := os.Getenv(togetherVariable) != ""
		before = o.usage(ctx)
		recording, stop := context.WithCancel(ctx)
		var writers sync.WaitGroup
		var ackMu sync.Mutex // guards acks
		var acks []time.Duration
		for i := range count {
			sp := spool(clients[i])
			r := sp.Log(record.LogOptions{Target: "billing", Protocol: "postgres", Policies: []string{ns + "/billing"}}).Recorder()
			writers.Go(func() {
				defer GinkgoRecover()
				if !together { // agents have no common clock
					time.Sleep(every * time.Duration(i) / time.Duration(count))
				}
				for n := 0; recording.Err() == nil; n++ {
					begin := time.Now()
					Expect(r.Record(record.Event{Kind: record.KindCommand, Text: fmt.Sprintf("SELECT %d", n), Verdict: "Allow"})).To(Succeed())
					if n%5 == 4 {
						Expect(r.Flush(ctx)).To(Succeed())
						ackMu.Lock()
						acks = append(acks, time.Since(begin))
						ackMu.Unlock()
					}
					select {
					case <-recording.Done():
					case <-time.After(every):
					}
				}
				Expect(sp.Close(ctx)).To(Succeed())
			})
		}
		time.Sleep(25 * time.Second)
		report("recording, a command in two seconds each, every fifth waited for", o.usage(ctx).since(before))

		By("approving meanwhile")
		before = o.usage(ctx)
		approvals := func(when string) {
			GinkgoHelper()
			took, patching := approved(ctx, o, ns, gates, approvalsEach, when, person.byClient)
			report("from a patch to the statement running, "+when, quantiles(took))
			report("of which the patch itself, "+when, quantiles(patching))
			took, patching = approved(ctx, o, ns, gates, approvalsEach, when+", kubectl", person.byKubectl)
			report("from the start of kubectl patch to the statement running, "+when, quantiles(took))
			report("of which kubectl, "+when, quantiles(patching))
		}
		approvals("while all record")
		report("approvals, while all record", o.usage(ctx).since(before))
		stop()
		writers.Wait()
		report("from a command to its acknowledgement", quantiles(acks))

		By("approving at rest")
		approvals("at rest")

		By("connecting anew from one address, with new tokens")
		for i := range clients {
			tokens[i] = tokenFor(ctx, pods[i], layout.TokenAudience)
		}
		begin := time.Now()
		for i := range clients {
			policies[i] = follow(o.dialFrom("127.0.0.1", tokens[i], func() string { return o.broker }))
		}
		report(fmt.Sprintf("%d sidecars behind one address have their policies", count), quantiles(arrive(ap.Generation, begin)))
	}, SpecTimeout(30*time.Minute))
})
