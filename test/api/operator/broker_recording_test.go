package operator_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	corev1 "k8s.io/api/core/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
	"github.com/chaperone-dev/chaperone/sidecar/control"
	"github.com/chaperone-dev/chaperone/sidecar/control/controlpb"
	"github.com/chaperone-dev/chaperone/sidecar/record"
)

// spool is the sidecar's own recorder, sending to the broker.
func spool(c *control.Client) *record.Spool {
	GinkgoHelper()
	s, err := record.Open(record.Options{Dir: GinkgoT().TempDir(), Budget: 64 << 20, Uplink: c, Log: ctrl.Log.WithName("spool")})
	Expect(err).NotTo(HaveOccurred())
	return s
}

func closeSpool(s *record.Spool) {
	GinkgoHelper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	Expect(s.Close(ctx)).To(Succeed())
}

// verified reads a recording from the bucket as an auditor would.
func (o *operator) verified(ctx context.Context, sr *v1alpha1.SessionRecording) (record.Verification, []string) {
	GinkgoHelper()
	pod := string(sr.Spec.Pod.UID)
	meta, err := o.archive.Meta(ctx, sr.Namespace, pod, sr.Spec.Log)
	Expect(err).NotTo(HaveOccurred())
	head, err := o.archive.Head(ctx, sr.Namespace, pod, sr.Spec.Log)
	Expect(err).NotTo(HaveOccurred())
	var body bytes.Buffer
	Expect(record.WriteLog(&body, meta, o.archive.Chunks(ctx, sr.Namespace, pod, sr.Spec.Log, 0), head)).To(Succeed())
	var texts []string
	_, v, err := record.Verify(&body, func(_ record.Meta, _ *record.Chunk, events []record.Event) error {
		for _, e := range events {
			if e.Kind == record.KindCommand {
				texts = append(texts, e.Text)
			}
		}
		return nil
	}, o.archive.Trusted(ctx, head)...)
	Expect(err).NotTo(HaveOccurred())
	return v, texts
}

func recordings(ctx context.Context, namespace string) []v1alpha1.SessionRecording {
	GinkgoHelper()
	list := &v1alpha1.SessionRecordingList{}
	Expect(kube.List(ctx, list, client.InNamespace(namespace))).To(Succeed())
	return list.Items
}

func newLogID() string {
	var id [16]byte
	_, err := rand.Read(id[:])
	Expect(err).NotTo(HaveOccurred())
	return hex.EncodeToString(id[:])
}

// raw is a sidecar that does as it likes.
func (o *operator) raw(tokenFile string) controlpb.BrokerClient {
	GinkgoHelper()
	token, err := os.ReadFile(tokenFile)
	Expect(err).NotTo(HaveOccurred())
	pool := x509.NewCertPool()
	Expect(pool.AppendCertsFromPEM(o.roots)).To(BeTrue())
	conn, err := grpc.NewClient(o.broker.Address().String(),
		grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{RootCAs: pool, ServerName: brokerName})),
		grpc.WithStreamInterceptor(func(ctx context.Context, d *grpc.StreamDesc, cc *grpc.ClientConn, method string, s grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
			return s(metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+string(token)), d, cc, method, opts...)
		}))
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(conn.Close)
	return controlpb.NewBrokerClient(conn)
}

// openLog begins a log as a sidecar does, and returns what the broker says to that.
func openLog(ctx context.Context, o *operator, s *sidecar, namespace string) error {
	GinkgoHelper()
	stream, err := o.raw(s.token).Record(ctx)
	Expect(err).NotTo(HaveOccurred())
	Expect(stream.Send(&controlpb.RecordRequest{Message: &controlpb.RecordRequest_Open_{Open: &controlpb.RecordRequest_Open{
		Log: newLogID(), Target: "billing", Protocol: "postgres", Policies: []string{namespace + "/billing"}, StartUnixMs: time.Now().UnixMilli(),
	}}})).To(Succeed())
	_, err = stream.Recv()
	return err
}

var _ = Describe("The broker's recordings", func() {
	var o *operator
	var ns string
	var s *sidecar
	options := func() record.LogOptions {
		return record.LogOptions{Target: "billing", Protocol: "postgres", Policies: []string{ns + "/billing", "kube-system/other"}, User: "app"}
	}
	BeforeEach(func(ctx SpecContext) {
		ns = namespace(ctx, nil)
		o = startOperator(GinkgoT().TempDir())
		apply(ctx, &v1alpha1.AgentPolicy{}, ns, "%s", strings.Replace(billingPolicy, "spec:", "spec:\n  recording: {retention: 48h}", 1))
		s = o.startPod(ctx, ns, "agent", agent, nil)
	})

	It("keep a log under an object that counts what is in it", func(ctx SpecContext) {
		sp := spool(o.connect(s.token))
		log := sp.Log(options())
		first, second := log.Recorder(), log.Recorder()
		for _, r := range []*record.Connection{first, second} {
			Expect(r.Record(record.Event{Kind: record.KindConnect, Protocol: "postgres"})).To(Succeed())
			Expect(r.Record(record.Event{Kind: record.KindCommand, Text: "SELECT 1", Verdict: "Allow"})).To(Succeed())
			Expect(r.Record(record.Event{Kind: record.KindResult, Rows: 3, Bytes: 100, Masked: 2})).To(Succeed())
		}
		Expect(first.Record(record.Event{Kind: record.KindCommand, Text: "DROP TABLE customers", Verdict: "Deny"})).To(Succeed())
		By("acknowledging what is durable")
		begin := time.Now()
		Expect(first.Flush(ctx)).To(Succeed())
		AddReportEntry("from the event to its acknowledgement", time.Since(begin).String())
		list := recordings(ctx, ns)
		Expect(list).To(HaveLen(1), "a loop of connections is one object")
		sr := list[0]
		Expect(sr.Name).To(HavePrefix("agent-billing-"))
		Expect(sr.Spec.Pod.UID).To(Equal(s.pod.UID))
		Expect(sr.Spec.Policies).To(Equal([]string{"billing"}), "another namespace's policies are none of this pod's")
		Expect(sr.Spec.Retention.Duration).To(Equal(48 * time.Hour))
		v, texts := o.verified(ctx, &sr)
		Expect(v.State).To(Equal(record.Recording))
		Expect(texts).To(ConsistOf("SELECT 1", "SELECT 1", "DROP TABLE customers"))

		By("bringing the object up to date a little later")
		Eventually(func(g Gomega) {
			g.Expect(kube.Get(ctx, client.ObjectKeyFromObject(&sr), &sr)).To(Succeed())
			g.Expect(sr.Status.Phase).To(Equal(v1alpha1.RecordingRecording))
			g.Expect(sr.Status.Counts).To(Equal(v1alpha1.RecordingCounts{Connections: 2, Commands: 3, Denied: 1, Masked: 4, Rows: 6, Bytes: 200}))
		}).WithTimeout(6 * time.Second).Should(Succeed())

		By("closing it")
		closeSpool(sp)
		Eventually(func(g Gomega) {
			g.Expect(kube.Get(ctx, client.ObjectKeyFromObject(&sr), &sr)).To(Succeed())
			g.Expect(sr.Status.Phase).To(Equal(v1alpha1.RecordingComplete))
			g.Expect(sr.Status.EndTime).NotTo(BeNil())
		}).WithTimeout(6 * time.Second).Should(Succeed())
		v, _ = o.verified(ctx, &sr)
		Expect(v.State).To(Equal(record.Complete))
		Expect(v.Signed).To(Equal(v.Chunks))
		Expect(sr.Status.Chunks).To(BeEquivalentTo(v.Chunks))
		entry, err := o.archive.Entry(ctx, ns, sr.Name)
		Expect(err).NotTo(HaveOccurred())
		Expect(entry.State).To(Equal(record.Complete))
	}, SpecTimeout(time.Minute))

	It("lose nothing that was acknowledged when the operator is replaced again and again", func(ctx SpecContext) {
		address := &atomic.Value{}
		address.Store(o.broker.Address().String())
		sp := spool(o.dial(s.token, func() string { return address.Load().(string) }))
		r := sp.Log(options()).Recorder()
		var acknowledged []string
		for round := range 4 {
			for i := range 50 {
				text := fmt.Sprintf("SELECT %d.%d", round, i)
				Expect(r.Record(record.Event{Kind: record.KindCommand, Text: text, Verdict: "Allow"})).To(Succeed())
				if i%10 == 9 {
					Expect(r.Flush(ctx)).To(Succeed())
				}
				acknowledged = append(acknowledged, text)
			}
			By("replacing the operator")
			o.stop()
			o = startOperator(o.folder)
			address.Store(o.broker.Address().String())
		}
		closeSpool(sp)
		list := recordings(ctx, ns)
		Expect(list).To(HaveLen(1))
		v, texts := o.verified(ctx, &list[0])
		Expect(v.State).To(Equal(record.Complete), v.Problem)
		Expect(texts).To(Equal(acknowledged))
	}, SpecTimeout(2*time.Minute))

	DescribeTable("refuse a log that is opened with what cannot be",
		func(ctx SpecContext, want codes.Code, open *controlpb.RecordRequest_Open) {
			if open != nil && open.Log == "" {
				open.Log = newLogID()
			}
			stream, err := o.raw(s.token).Record(ctx)
			Expect(err).NotTo(HaveOccurred())
			message := &controlpb.RecordRequest{Message: &controlpb.RecordRequest_Open_{Open: open}}
			if open == nil {
				message = &controlpb.RecordRequest{Message: &controlpb.RecordRequest_Chunk_{Chunk: &controlpb.RecordRequest_Chunk{}}}
			}
			Expect(stream.Send(message)).To(Succeed())
			_, err = stream.Recv()
			Expect(status.Code(err)).To(Equal(want), "%v", err)
			Expect(recordings(ctx, ns)).To(BeEmpty())
		},
		Entry("no opening at all", codes.InvalidArgument, nil, SpecTimeout(30*time.Second)),
		Entry("a name that climbs out of its folder", codes.InvalidArgument, &controlpb.RecordRequest_Open{Log: "../../../../etc/cron.d/00000000", Target: "billing", Protocol: "postgres"}, SpecTimeout(30*time.Second)),
		Entry("a target that is no name", codes.InvalidArgument, &controlpb.RecordRequest_Open{Target: "billing/../x", Protocol: "postgres"}, SpecTimeout(30*time.Second)),
		Entry("a protocol that nobody speaks", codes.InvalidArgument, &controlpb.RecordRequest_Open{Target: "billing", Protocol: "telnet"}, SpecTimeout(30*time.Second)),
	)

	It("refuse chunks that do not follow, and keep what does", func(ctx SpecContext) {
		open := &controlpb.RecordRequest{Message: &controlpb.RecordRequest_Open_{Open: &controlpb.RecordRequest_Open{
			Log: newLogID(), Target: "billing", Protocol: "postgres", StartUnixMs: time.Now().UnixMilli(),
			User: "app\x1b[2J", Policies: []string{ns + "/x\x1b]0;y"},
		}}}
		send := func(change func(*controlpb.RecordRequest_Chunk)) error {
			stream, err := o.raw(s.token).Record(ctx)
			Expect(err).NotTo(HaveOccurred())
			Expect(stream.Send(open)).To(Succeed())
			opened, err := stream.Recv()
			Expect(err).NotTo(HaveOccurred())
			Expect(opened.GetNext()).To(BeEquivalentTo(0))
			payload := []byte("payload")
			sum := record.Sum(0, nil, payload)
			chunk := &controlpb.RecordRequest_Chunk{Hash: sum[:], Payload: payload, Counts: &controlpb.Counts{Commands: 1}}
			change(chunk)
			if err := stream.Send(&controlpb.RecordRequest{Message: &controlpb.RecordRequest_Chunk_{Chunk: chunk}}); err != nil {
				return err
			}
			_, err = stream.Recv()
			return err
		}
		for name, c := range map[string]struct {
			want   codes.Code
			change func(*controlpb.RecordRequest_Chunk)
		}{
			"a gap":                     {codes.Aborted, func(c *controlpb.RecordRequest_Chunk) { c.Number = 7 }},
			"another hash":              {codes.InvalidArgument, func(c *controlpb.RecordRequest_Chunk) { c.Payload = []byte("other") }},
			"a predecessor at the head": {codes.InvalidArgument, func(c *controlpb.RecordRequest_Chunk) { c.Previous = c.Hash }},
			"negative totals":           {codes.InvalidArgument, func(c *controlpb.RecordRequest_Chunk) { c.Counts.Rows = -1 }},
			"a payload over the bound": {codes.InvalidArgument, func(c *controlpb.RecordRequest_Chunk) {
				c.Payload = make([]byte, record.MaxPayload+1)
				sum := record.Sum(0, nil, c.Payload)
				c.Hash = sum[:]
			}},
			"a message over the bound": {codes.ResourceExhausted, func(c *controlpb.RecordRequest_Chunk) { c.Payload = make([]byte, 2<<20) }},
			"an end that is none":      {codes.InvalidArgument, func(c *controlpb.RecordRequest_Chunk) { c.Last = true }},
		} {
			By(name)
			err := send(c.change)
			Expect(status.Code(err)).To(Equal(c.want), "%v", err)
		}
		By("a chunk that is right")
		Expect(send(func(*controlpb.RecordRequest_Chunk) {})).To(Succeed())
		list := recordings(ctx, ns)
		Expect(list).To(HaveLen(1))
		Expect(list[0].Spec.Policies).To(BeEmpty())
		head, err := o.archive.Head(ctx, ns, string(s.pod.UID), list[0].Spec.Log)
		Expect(err).NotTo(HaveOccurred())
		Expect(record.VerifyHead(*head, o.archive.Trusted(ctx, head)...)).To(Succeed())
		Expect(head.Chunks).To(BeEquivalentTo(1))
	}, SpecTimeout(time.Minute))

	It("say what keeps a recording from being filed", func(ctx SpecContext) {
		quota := apply(ctx, &corev1.ResourceQuota{}, ns, "metadata: {name: none}\nspec: {hard: {count/sessionrecordings.chaperone.dev: '0'}}")
		// No controller manager runs here, which would count.
		quota.Status = corev1.ResourceQuotaStatus{Hard: quota.Spec.Hard, Used: quota.Spec.Hard}
		Expect(kube.Status().Update(ctx, quota)).To(Succeed())
		p := follow(o.connect(s.token))
		Eventually(names(p)).WithTimeout(10 * time.Second).Should(Equal([]string{"billing"}))
		err := openLog(ctx, o, s, ns)
		Expect(status.Code(err)).To(Equal(codes.FailedPrecondition), "%v", err)
		Expect(err).To(MatchError(ContainSubstring("exceeded quota: none")))
		known, _ := o.presence.Sidecars()
		Expect(known[s.pod.UID].RecordingError).To(ContainSubstring("exceeded quota: none"))
	}, SpecTimeout(time.Minute))
})
