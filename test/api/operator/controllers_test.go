package operator_test

import (
	"context"
	"errors"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/events"
	clocktesting "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
	"github.com/chaperone-dev/chaperone/controllers"
	"github.com/chaperone-dev/chaperone/controllers/archive"
	"github.com/chaperone-dev/chaperone/controllers/certs"
	"github.com/chaperone-dev/chaperone/sidecar/record"
	"github.com/chaperone-dev/chaperone/webhook/guard"
)

// recorder writes real events until the spec ends.
func recorder() events.EventRecorder {
	GinkgoHelper()
	api, err := kubernetes.NewForConfig(config)
	Expect(err).NotTo(HaveOccurred())
	broadcaster := events.NewBroadcaster(&events.EventSinkImpl{Interface: api.EventsV1()})
	ctx, cancel := context.WithCancel(context.Background())
	Expect(broadcaster.StartRecordingToSinkWithContext(ctx)).To(Succeed())
	DeferCleanup(func() { cancel(); broadcaster.Shutdown() })
	return broadcaster.NewRecorder(scheme, "chaperone")
}

// eventReasons are those of the events on an object.
func eventReasons(ctx context.Context, obj client.Object) func() []string {
	return func() []string {
		list := &eventsv1.EventList{}
		Expect(kube.List(ctx, list, client.InNamespace(obj.GetNamespace()))).To(Succeed())
		var out []string
		for _, e := range list.Items {
			if e.Regarding.UID == obj.GetUID() {
				out = append(out, e.Reason)
			}
		}
		return out
	}
}

func request(obj client.Object) ctrl.Request {
	return ctrl.Request{NamespacedName: client.ObjectKeyFromObject(obj)}
}

var _ = Describe("The request controller", func() {
	key := []byte("0123456789abcdef0123456789abcdef")
	var ns string
	var clk *clocktesting.FakeClock
	var r *controllers.ApprovalRequestReconciler
	var ar *v1alpha1.ApprovalRequest
	var ap *v1alpha1.AgentPolicy
	BeforeEach(func(ctx SpecContext) {
		ns = namespace(ctx, nil)
		clk = clocktesting.NewFakeClock(time.Now())
		r = &controllers.ApprovalRequestReconciler{Client: kube, Key: key, Retention: time.Hour, Events: recorder(), Clock: clk}
		ap = apply(ctx, &v1alpha1.AgentPolicy{}, ns, billingPolicy)
		ar = apply(ctx, &v1alpha1.ApprovalRequest{}, ns, `
metadata: {name: agent-1}
spec:
  pod: {name: agent, uid: 11111111-1111-1111-1111-111111111111, serviceAccount: default}
  policy: {name: billing, uid: %s, generation: 1}
  rule: writes
  target: billing
  protocol: postgres
  command: {text: UPDATE t SET a = 1, length: 18, sha256: "%064d"}
  approval: {required: 2, groups: [dba], scope: Pod}
  expiresAt: %q`, ap.UID, 0, clk.Now().Add(10*time.Minute).UTC().Truncate(time.Second).Format(time.RFC3339))
	})
	reconcile := func(ctx context.Context) ctrl.Result {
		GinkgoHelper()
		result, err := r.Reconcile(ctx, request(ar))
		Expect(err).NotTo(HaveOccurred())
		if err := kube.Get(ctx, client.ObjectKeyFromObject(ar), ar); !apierrors.IsNotFound(err) {
			Expect(err).NotTo(HaveOccurred())
		}
		return result
	}

	It("follows a request to its quorum, keeps the uses, and deletes it in the end", func(ctx SpecContext) {
		reconcile(ctx)
		Expect(ar.Status.Phase).To(Equal(v1alpha1.PhasePending))
		decide(ctx, key, ns, ar.Name, "alice", v1alpha1.StampedDecision{Verdict: v1alpha1.VerdictApprove})
		reconcile(ctx)
		Expect(ar.Status.Phase).To(Equal(v1alpha1.PhasePending))
		Expect(ar.Status.Message).To(HavePrefix("1 of 2 approvals"))
		decide(ctx, key, ns, ar.Name, "alice", v1alpha1.StampedDecision{Verdict: v1alpha1.VerdictApprove})
		reconcile(ctx)
		Expect(ar.Status.Approvals).To(BeEquivalentTo(1), "a quorum counts people")
		decide(ctx, key, ns, ar.Name, "bob", v1alpha1.StampedDecision{Verdict: v1alpha1.VerdictApprove})
		result := reconcile(ctx)
		Expect(ar.Status.Phase).To(Equal(v1alpha1.PhaseApproved))
		Expect(ar.Status.Conditions).To(ContainElement(And(HaveField("Type", "Decided"), HaveField("Status", metav1.ConditionTrue), HaveField("Reason", "Approved"))))
		Expect(result.RequeueAfter).To(BeNumerically("~", 10*time.Minute, 5*time.Second))
		Eventually(eventReasons(ctx, ar)).WithTimeout(10 * time.Second).Should(ContainElement("ApprovalApproved"))
		Eventually(eventReasons(ctx, ap)).WithTimeout(10 * time.Second).Should(ContainElement("ApprovalApproved"))

		By("counting a use meanwhile")
		ar.Status.Uses = 1
		Expect(kube.Status().Update(ctx, ar)).To(Succeed())
		reconcile(ctx)
		Expect(ar.Status.Phase).To(Equal(v1alpha1.PhaseUsed))
		Expect(ar.Status.Uses).To(BeEquivalentTo(1))

		By("waiting until a while after its expiry")
		clk.Step(30 * time.Minute)
		Expect(reconcile(ctx).RequeueAfter).To(BeNumerically("~", 40*time.Minute, 5*time.Second))
		clk.Step(45 * time.Minute)
		reconcile(ctx)
		Expect(kube.Get(ctx, client.ObjectKeyFromObject(ar), ar)).To(MatchError(apierrors.IsNotFound, "IsNotFound"))
	}, SpecTimeout(time.Minute))

	It("expires a request that nobody has decided", func(ctx SpecContext) {
		clk.Step(11 * time.Minute)
		reconcile(ctx)
		Expect(ar.Status.Phase).To(Equal(v1alpha1.PhaseExpired))
		Eventually(eventReasons(ctx, ap)).WithTimeout(10 * time.Second).Should(ContainElement("ApprovalExpired"))
	}, SpecTimeout(time.Minute))

	It("leaves the first word to a command that waits, says it where none takes the grant, and tells people either way", func(ctx SpecContext) {
		waited := true
		r.Waited = func(types.NamespacedName) bool { return waited }
		reconcile(ctx)
		Expect(ar.Status.Phase).To(Equal(v1alpha1.PhasePending), "a request that nobody has decided is said at once")
		decide(ctx, key, ns, ar.Name, "alice", v1alpha1.StampedDecision{Verdict: v1alpha1.VerdictApprove})
		reconcile(ctx)
		Expect(ar.Status.Approvals).To(BeEquivalentTo(1), "a part of a quorum as well")
		decide(ctx, key, ns, ar.Name, "bob", v1alpha1.StampedDecision{Verdict: v1alpha1.VerdictApprove})
		clk.SetTime(ar.CreationTimestamp.Time)
		result := reconcile(ctx)
		Expect(ar.Status.Phase).To(Equal(v1alpha1.PhasePending))
		Expect(result.RequeueAfter).To(And(BeNumerically(">", time.Second), BeNumerically("<", time.Minute)))

		By("finding that nobody waits")
		waited = false
		reconcile(ctx)
		Expect(ar.Status.Phase).To(Equal(v1alpha1.PhaseApproved))

		By("finding that the one who waits does not take it")
		second := ar.DeepCopy()
		second.ObjectMeta = metav1.ObjectMeta{Namespace: ns, Name: "agent-2"}
		Expect(kube.Create(ctx, second)).To(Succeed())
		ar, waited = second, true
		reconcile(ctx)
		ar.Spec.Decisions = nil
		decide(ctx, key, ns, ar.Name, "alice", v1alpha1.StampedDecision{Verdict: v1alpha1.VerdictApprove})
		decide(ctx, key, ns, ar.Name, "bob", v1alpha1.StampedDecision{Verdict: v1alpha1.VerdictApprove})
		clk.SetTime(time.Now().Add(10 * time.Second))
		reconcile(ctx)
		Expect(ar.Status.Phase).To(Equal(v1alpha1.PhaseApproved))
	}, SpecTimeout(time.Minute))

	It("tells who approved what was used before it had said so", func(ctx SpecContext) {
		reconcile(ctx)
		decide(ctx, key, ns, ar.Name, "alice", v1alpha1.StampedDecision{Verdict: v1alpha1.VerdictApprove})
		decide(ctx, key, ns, ar.Name, "bob", v1alpha1.StampedDecision{Verdict: v1alpha1.VerdictApprove})
		Expect(kube.Get(ctx, client.ObjectKeyFromObject(ar), ar)).To(Succeed())
		ar.Status.Uses, ar.Status.Phase = 1, v1alpha1.PhaseUsed // as the broker writes it
		Expect(kube.Status().Update(ctx, ar)).To(Succeed())
		reconcile(ctx)
		for _, obj := range []client.Object{ar, ap} {
			Eventually(notes(ctx, obj, "ApprovalApproved")).WithTimeout(30 * time.Second).Should(ConsistOf(ContainSubstring("approved by alice, bob, and used")))
		}
	}, SpecTimeout(2*time.Minute))

	It("loses a race with the broker's count instead of undoing it", func(ctx SpecContext) {
		stale := &staleReader{Client: kube, obj: ar.DeepCopy()}
		ar.Status.Uses = 1
		Expect(kube.Status().Update(ctx, ar)).To(Succeed())
		r.Client = stale
		result, err := r.Reconcile(ctx, request(ar))
		Expect(err).NotTo(HaveOccurred())
		Expect(result.RequeueAfter).To(BeNumerically("<", time.Second), "it looks again")
		Expect(kube.Get(ctx, client.ObjectKeyFromObject(ar), ar)).To(Succeed())
		Expect(ar.Status.Uses).To(BeEquivalentTo(1))
	}, SpecTimeout(time.Minute))
})

// staleReader is a cache that is behind: it reads the request as it once was.
type staleReader struct {
	client.Client
	obj *v1alpha1.ApprovalRequest
}

func (s *staleReader) Get(ctx context.Context, key client.ObjectKey, obj client.Object, opts ...client.GetOption) error {
	if ar, ok := obj.(*v1alpha1.ApprovalRequest); ok && key == client.ObjectKeyFromObject(s.obj) {
		s.obj.DeepCopyInto(ar)
		return nil
	}
	return s.Client.Get(ctx, key, obj, opts...)
}

func (s *staleReader) List(ctx context.Context, list client.ObjectList, opts ...client.ListOption) error {
	err := s.Client.List(ctx, list, opts...)
	if requests, ok := list.(*v1alpha1.ApprovalRequestList); ok {
		for i := range requests.Items {
			if requests.Items[i].UID == s.obj.UID {
				s.obj.DeepCopyInto(&requests.Items[i])
			}
		}
	}
	return err
}

// Every sentence holds of both kinds of bucket; with S3, make test-s3 runs them against a real server.
var (
	_ = Describe("The recording controller with a volume", func() {
		recordingController(func() string { return "file://" + GinkgoT().TempDir() })
	})
	_ = Describe("The recording controller with S3", Label(labelS3), func() {
		recordingController(func() string { return startBucket(context.Background()).URL() })
	})
)

func recordingController(location func() string) {
	var ns string
	var clk *clocktesting.FakeClock
	var a *archive.Archive
	var r *controllers.SessionRecordingReconciler
	var sweep *controllers.Retention
	BeforeEach(func(ctx SpecContext) {
		ns = namespace(ctx, nil)
		clk = clocktesting.NewFakeClock(time.Now().Truncate(time.Second))
		keys := &certs.Keys{Client: kube, Secret: client.ObjectKey{Namespace: ns, Name: "keys"}, Clock: clk, Log: ctrl.Log}
		Expect(keys.Load(ctx)).To(Succeed())
		var err error
		a, err = archive.Open(ctx, location(), keys)
		Expect(err).NotTo(HaveOccurred())
		r = &controllers.SessionRecordingReconciler{Client: kube, Archive: a, Floor: 24 * time.Hour, Events: recorder(), Clock: clk}
		sweep = &controllers.Retention{Client: kube, Archive: a, Floor: 24 * time.Hour, Clock: clk, Log: ctrl.Log}
	})
	// filed makes a recording and, with chunks, its bytes.
	filed := func(ctx context.Context, pod *corev1.Pod, chunks int) *v1alpha1.SessionRecording {
		GinkgoHelper()
		sr := apply(ctx, &v1alpha1.SessionRecording{}, ns, `
metadata: {generateName: agent-}
spec:
  log: %s
  pod: {name: agent, uid: %q, serviceAccount: default}
  target: billing
  protocol: postgres
  startTime: %q
  retention: 48h`, newLogID(), pod.UID, clk.Now().UTC().Format(metav1.RFC3339Micro))
		meta := record.Meta{Log: sr.Spec.Log, Target: "billing", Protocol: "postgres", Recording: sr.Name, Namespace: ns, Pod: "agent", PodUID: string(pod.UID), Start: clk.Now()}
		Expect(a.PutEntry(ctx, &archive.Entry{Meta: meta, State: record.Recording, LastWrite: clk.Now(), RetentionSeconds: 48 * 3600})).To(Succeed())
		if chunks > 0 {
			l, err := a.Begin(ctx, meta)
			Expect(err).NotTo(HaveOccurred())
			var previous []byte
			for n := range chunks {
				payload := []byte{byte(n)}
				sum := record.Sum(uint64(n), previous, payload)
				Expect(l.Append(ctx, &record.Chunk{Number: uint64(n), Previous: previous, Hash: sum[:], Payload: payload, Counts: record.Counts{Commands: int64(n + 1)}})).To(Succeed())
				previous = sum[:]
			}
			Expect(l.Sign(ctx, record.Recording)).To(Succeed())
		}
		return sr
	}
	reconcile := func(ctx context.Context, sr *v1alpha1.SessionRecording) {
		GinkgoHelper()
		_, err := r.Reconcile(ctx, request(sr))
		Expect(err).NotTo(HaveOccurred())
		if err := kube.Get(ctx, client.ObjectKeyFromObject(sr), sr); !apierrors.IsNotFound(err) {
			Expect(err).NotTo(HaveOccurred())
		}
	}
	bytesThere := func(ctx context.Context, sr *v1alpha1.SessionRecording) bool {
		GinkgoHelper()
		_, err := a.Meta(ctx, ns, string(sr.Spec.Pod.UID), sr.Spec.Log)
		if !errors.Is(err, archive.ErrNotFound) {
			Expect(err).NotTo(HaveOccurred())
		}
		return err == nil
	}
	gone := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{UID: "22222222-2222-2222-2222-222222222222"}}

	It("closes what a pod that is gone has left, as truncated or lost, signed", func(ctx SpecContext) {
		some, none := filed(ctx, gone, 3), filed(ctx, gone, 0)
		reconcile(ctx, some)
		Expect(some.Status.Phase).To(BeEmpty(), "chunks may still be under way")
		clk.Step(5 * time.Minute)
		reconcile(ctx, some)
		Expect(some.Status.Phase).To(Equal(v1alpha1.RecordingTruncated))
		Expect(some.Status.Chunks).To(BeEquivalentTo(3))
		Expect(some.Status.Counts.Commands).To(BeEquivalentTo(3))
		Expect(some.Status.Conditions).To(ContainElement(HaveField("Message", ContainSubstring("ends after 3 chunks"))))
		head, err := a.Head(ctx, ns, string(gone.UID), some.Spec.Log)
		Expect(err).NotTo(HaveOccurred())
		Expect(head.State).To(Equal(record.Truncated))
		Expect(record.VerifyHead(*head, a.Trusted(ctx, head)...)).To(Succeed())
		reconcile(ctx, none)
		Expect(none.Status.Phase).To(Equal(v1alpha1.RecordingLost))
		Eventually(eventReasons(ctx, none)).WithTimeout(10 * time.Second).Should(ContainElement("RecordingLost"))
	}, SpecTimeout(time.Minute))

	It("deletes bytes when the retention is over and not before, and keeps the index", func(ctx SpecContext) {
		sr := filed(ctx, gone, 1)
		clk.Step(5 * time.Minute)
		reconcile(ctx, sr)
		clk.Step(47 * time.Hour)
		reconcile(ctx, sr)
		Expect(bytesThere(ctx, sr)).To(BeTrue())
		sr.Spec.LegalHold = true
		Expect(kube.Update(ctx, sr)).To(Succeed())
		clk.Step(1000 * time.Hour)
		reconcile(ctx, sr)
		Expect(bytesThere(ctx, sr)).To(BeTrue(), "a legal hold stands")
		sr.Spec.LegalHold = false
		Expect(kube.Update(ctx, sr)).To(Succeed())
		reconcile(ctx, sr)
		Expect(bytesThere(ctx, sr)).To(BeFalse())
		Expect(kube.Get(ctx, client.ObjectKeyFromObject(sr), sr)).To(MatchError(apierrors.IsNotFound, "IsNotFound"))
		entry, err := a.Entry(ctx, ns, sr.Name)
		Expect(err).NotTo(HaveOccurred())
		Expect(entry.BytesDeleted).NotTo(BeNil())
		Expect(entry.State).To(Equal(record.Truncated))
	}, SpecTimeout(time.Minute))

	It("lets nobody delete bytes, or shorten their life, by deleting the object", func(ctx SpecContext) {
		plain, held := filed(ctx, gone, 1), filed(ctx, gone, 1)
		clk.Step(5 * time.Minute)
		held.Spec.LegalHold = true
		Expect(kube.Update(ctx, held)).To(Succeed())
		for _, sr := range []*v1alpha1.SessionRecording{plain, held} {
			reconcile(ctx, sr)
			reconcile(ctx, sr)
			Expect(kube.Delete(ctx, sr)).To(Succeed())
			reconcile(ctx, sr)
		}
		clk.Step(47 * time.Hour)
		sweep.Sweep(ctx)
		Expect(bytesThere(ctx, plain)).To(BeTrue())
		clk.Step(2 * time.Hour)
		sweep.Sweep(ctx)
		Expect(bytesThere(ctx, plain)).To(BeFalse())
		Expect(bytesThere(ctx, held)).To(BeTrue(), "a legal hold outlives its object")
	}, SpecTimeout(time.Minute))

	It("closes a log whose object was deleted while it went on", func(ctx SpecContext) {
		sr := filed(ctx, gone, 2)
		Expect(kube.Delete(ctx, sr)).To(Succeed())
		clk.Step(3 * time.Hour)
		sweep.Sweep(ctx)
		entry, err := a.Entry(ctx, ns, sr.Name)
		Expect(err).NotTo(HaveOccurred())
		Expect(entry.State).To(Equal(record.Truncated))
		Expect(entry.Chunks).To(BeEquivalentTo(2))
	}, SpecTimeout(time.Minute))

	It("keeps bytes above the floor, whatever the policy's retention says", func(ctx SpecContext) {
		sr := filed(ctx, gone, 1)
		sr.Spec.Retention.Duration = time.Minute
		Expect(kube.Update(ctx, sr)).To(Succeed())
		clk.Step(5 * time.Minute)
		reconcile(ctx, sr) // closes it
		clk.Step(23 * time.Hour)
		reconcile(ctx, sr)
		Expect(bytesThere(ctx, sr)).To(BeTrue())
		clk.Step(2 * time.Hour)
		reconcile(ctx, sr)
		Expect(bytesThere(ctx, sr)).To(BeFalse())
	}, SpecTimeout(time.Minute))

	It("keeps bytes and index of a namespace that is gone, until the retention is over", func(ctx SpecContext) {
		sr := filed(ctx, gone, 1)
		clk.Step(5 * time.Minute)
		reconcile(ctx, sr)
		// What the namespace controller does first.
		Expect(kube.Delete(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ns}})).To(Succeed())
		Expect(kube.DeleteAllOf(ctx, &v1alpha1.SessionRecording{}, client.InNamespace(ns))).To(Succeed())
		reconcile(ctx, sr)
		clk.Step(47 * time.Hour)
		sweep.Sweep(ctx)
		Expect(bytesThere(ctx, sr)).To(BeTrue())
		entry, err := a.Entry(ctx, ns, sr.Name)
		Expect(err).NotTo(HaveOccurred())
		Expect(entry.State).To(Equal(record.Truncated))
		clk.Step(2 * time.Hour)
		sweep.Sweep(ctx)
		Expect(bytesThere(ctx, sr)).To(BeFalse())
		entry, err = a.Entry(ctx, ns, sr.Name)
		Expect(err).NotTo(HaveOccurred(), "the index outlives the bytes")
		Expect(entry.BytesDeleted).NotTo(BeNil())
	}, SpecTimeout(time.Minute))
}

var _ = Describe("The pod controller", func() {
	It("deletes a pod in which another container runs as the sidecar's user, and says so", func(ctx SpecContext) {
		ns := namespace(ctx, nil)
		o := startOperator(GinkgoT().TempDir())
		apply(ctx, &v1alpha1.AgentPolicy{}, ns, billingPolicy)
		s := o.startPod(ctx, ns, "agent", agent, nil)
		uid, ok := guard.UID(s.pod)
		Expect(ok).To(BeTrue())
		r := &controllers.PodReconciler{Client: kube, Events: recorder()}
		report := func(container int64) {
			GinkgoHelper()
			s.pod.Status.InitContainerStatuses = []corev1.ContainerStatus{{Name: "chaperone", User: &corev1.ContainerUser{Linux: &corev1.LinuxContainerUser{UID: uid}}}}
			s.pod.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "agent", User: &corev1.ContainerUser{Linux: &corev1.LinuxContainerUser{UID: container}}}}
			Expect(kube.Status().Update(ctx, s.pod)).To(Succeed())
			_, err := r.Reconcile(ctx, request(s.pod))
			Expect(err).NotTo(HaveOccurred())
		}
		report(1000)
		Expect(kube.Get(ctx, client.ObjectKeyFromObject(s.pod), s.pod)).To(Succeed())

		By("restarting the agent as the sidecar's user")
		s.pod.Status.ContainerStatuses[0].User.Linux.UID = uid
		Expect(kube.Status().Update(ctx, s.pod)).To(Succeed())
		Eventually(func() error {
			_, err := o.connect(s.token).Lease(ctx, ns+"/billing", "billing")
			return err
		}).WithTimeout(10 * time.Second).Should(MatchError(ContainSubstring("which is the sidecar's own")))
		_, err := r.Reconcile(ctx, request(s.pod))
		Expect(err).NotTo(HaveOccurred())
		err = kube.Get(ctx, client.ObjectKeyFromObject(s.pod), &corev1.Pod{})
		Expect(err).To(MatchError(apierrors.IsNotFound, "IsNotFound"))
		Eventually(eventReasons(ctx, s.pod)).WithTimeout(10 * time.Second).Should(ContainElement("SidecarUserTaken"))
	}, SpecTimeout(time.Minute))
})
