package operator_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrlconfig "sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
	"github.com/chaperone-dev/chaperone/controllers"
	"github.com/chaperone-dev/chaperone/controllers/notification"
)

const (
	oldKey = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
	newKey = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
)

// receiver is a sink that verifies what it gets by the specification's own library.
type receiver struct {
	server *httptest.Server

	mu     sync.Mutex // guards what follows
	key    string
	answer int
	hits   int
	last   string // event's ID, taken or not
	events []notification.Event
	bad    []error
}

func newReceiver() *receiver {
	r := &receiver{key: oldKey, answer: http.StatusAccepted}
	r.server = httptest.NewServer(r)
	DeferCleanup(r.server.Close)
	return r
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.hits++
	if err == nil {
		err = r.take(req, body)
	}
	if err != nil {
		r.bad = append(r.bad, err)
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.WriteHeader(r.answer)
}

func (r *receiver) take(req *http.Request, body []byte) error {
	verifier, err := standardwebhooks.NewWebhook(r.key)
	if err != nil {
		return err
	}
	if err := verifier.Verify(body, req.Header); err != nil {
		return err
	}
	var e notification.Event
	if err := json.Unmarshal(body, &e); err != nil {
		return err
	}
	switch {
	case req.Method != http.MethodPost || req.Header.Get("Content-Type") != "application/cloudevents+json; charset=utf-8":
		return errors.New("not a CloudEvent in the structured mode")
	case req.Header.Get("webhook-id") != e.ID:
		return errors.New("the id that is signed is not the event's")
	}
	r.last = e.ID
	if r.answer < 300 {
		r.events = append(r.events, e)
	}
	return nil
}

func (r *receiver) lastID() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last
}

func (r *receiver) set(change func(*receiver)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change(r)
}

func (r *receiver) ids() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []string
	for _, e := range r.events {
		out = append(out, e.ID)
	}
	return out
}

func (r *receiver) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.hits
}

func (r *receiver) problems() []error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.bad
}

var _ = Describe("Notifications", func() {
	key := []byte("0123456789abcdef0123456789abcdef")
	var ns string
	var sink *receiver
	var keys *corev1.Secret
	BeforeEach(func(ctx SpecContext) {
		ns = namespace(ctx, nil)
		sink = newReceiver()
		keys = &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: operatorNamespace, GenerateName: "notifications-"},
			StringData: map[string]string{"key": oldKey},
		}
		Expect(kube.Create(ctx, keys)).To(Succeed())
		apply(ctx, &v1alpha1.AgentPolicy{}, ns, billingPolicy)
	})
	// start runs the two controllers of requests as the leader does, until stop or the spec's end.
	start := func() (stop func()) {
		GinkgoHelper()
		mgr, err := ctrl.NewManager(config, ctrl.Options{
			Scheme: scheme, Metrics: server.Options{BindAddress: "0"}, HealthProbeBindAddress: "0",
			Controller: ctrlconfig.Controller{SkipNameValidation: ptr.To(true)},
			Cache:      cache.Options{DefaultNamespaces: map[string]cache.Config{ns: {}}}, // other specs have other keys
		})
		Expect(err).NotTo(HaveOccurred())
		recorder := mgr.GetEventRecorder("chaperone")
		requests := &controllers.ApprovalRequestReconciler{Client: mgr.GetClient(), Key: key, Retention: time.Hour, Events: recorder, Clock: clock.RealClock{}}
		Expect(requests.SetupWithManager(mgr)).To(Succeed())
		notes := &controllers.NotificationReconciler{
			Client: mgr.GetClient(), Source: "cluster-1", Events: recorder, Clock: clock.RealClock{},
			Sink: &notification.Sink{
				URL: sink.server.URL + "/in?token=of-the-chat", Client: notification.NewClient(), Clock: clock.RealClock{},
				Keys: controllers.NotificationKeys(mgr.GetAPIReader(), types.NamespacedName{Namespace: operatorNamespace, Name: keys.Name}),
			},
		}
		Expect(notes.SetupWithManager(mgr)).To(Succeed())
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- mgr.Start(ctx) }()
		stopped := false
		stop = func() {
			if !stopped {
				stopped = true
				cancel()
				Eventually(done).WithTimeout(30 * time.Second).Should(Receive(BeNil()))
			}
		}
		DeferCleanup(stop)
		return stop
	}
	file := func(ctx context.Context, name string) *v1alpha1.ApprovalRequest {
		return apply(ctx, &v1alpha1.ApprovalRequest{}, ns, `
metadata: {name: %s}
spec:
  pod: {name: agent, uid: 11111111-1111-1111-1111-111111111111, serviceAccount: default}
  policy: {name: billing, uid: 11111111-1111-1111-1111-111111111112, generation: 1}
  rule: writes
  target: billing
  protocol: postgres
  command: {text: UPDATE t SET a = 1, length: 18, sha256: "%064d"}
  approval: {required: 1, scope: Pod}
  expiresAt: %q`, name, 0, time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
	}
	notified := func(ctx context.Context, ar *v1alpha1.ApprovalRequest) func() *metav1.Condition {
		return func() *metav1.Condition {
			if err := kube.Get(ctx, client.ObjectKeyFromObject(ar), ar); err != nil {
				return nil
			}
			return meta.FindStatusCondition(ar.Status.Conditions, controllers.ConditionNotified)
		}
	}
	told := func(phase string) OmegaMatcher {
		return And(Not(BeNil()), HaveField("Status", metav1.ConditionTrue), HaveField("Reason", phase))
	}

	It("tell of a request and of what was decided, signed, once each", func(ctx SpecContext) {
		stop := start()
		ar := file(ctx, "agent-1")
		Eventually(notified(ctx, ar)).WithTimeout(30 * time.Second).Should(told("Pending"))
		decide(ctx, key, ns, ar.Name, "alice", v1alpha1.StampedDecision{Verdict: v1alpha1.VerdictApprove, Reason: "checked"})
		Eventually(notified(ctx, ar)).WithTimeout(30 * time.Second).Should(told("Approved"))
		Expect(sink.ids()).To(Equal([]string{string(ar.UID) + ".pending", string(ar.UID) + ".approved"}))
		Expect(sink.problems()).To(BeEmpty())
		Expect(sink.events[0].Source).To(Equal("cluster-1"))
		Expect(sink.events[0].Data.Approve).To(ContainSubstring("kubectl patch apr agent-1 -n " + ns))
		Expect(sink.events[1].Data.Decisions).To(ConsistOf(And(HaveField("User", "alice"), HaveField("Reason", "checked"))))

		By("telling nothing again under a new leader")
		stop()
		start()
		other := file(ctx, "agent-2")
		Eventually(notified(ctx, other)).WithTimeout(30 * time.Second).Should(told("Pending"))
		Expect(sink.ids()).To(HaveLen(3))
	}, SpecTimeout(3*time.Minute))

	It("are tried again until the sink takes them, hold nothing up and show no secret", func(ctx SpecContext) {
		sink.set(func(r *receiver) { r.answer = http.StatusServiceUnavailable })
		start()
		ar := file(ctx, "agent-1")
		Eventually(notified(ctx, ar)).WithTimeout(30 * time.Second).Should(And(Not(BeNil()), HaveField("Status", metav1.ConditionFalse),
			HaveField("Message", "the sink refused the notification: 503 Service Unavailable; it is tried again")))
		Eventually(eventReasons(ctx, ar)).WithTimeout(30 * time.Second).Should(ContainElement("NotNotified"))
		Eventually(sink.count).WithTimeout(60 * time.Second).Should(BeNumerically(">=", 3))

		By("deciding meanwhile")
		decide(ctx, key, ns, ar.Name, "alice", v1alpha1.StampedDecision{Verdict: v1alpha1.VerdictDeny})
		Eventually(func() v1alpha1.ApprovalPhase { notified(ctx, ar)(); return ar.Status.Phase }).WithTimeout(30 * time.Second).Should(Equal(v1alpha1.PhaseDenied))
		// Until the operator's cache has the decision, a retry still tells of the request.
		Eventually(sink.lastID).WithTimeout(2 * time.Minute).Should(Equal(string(ar.UID) + ".denied"))
		sink.set(func(r *receiver) { r.answer = http.StatusNoContent })
		Eventually(notified(ctx, ar)).WithTimeout(2 * time.Minute).Should(told("Denied"))
		Expect(sink.ids()).To(Equal([]string{string(ar.UID) + ".denied"}), "what is over is not told any more")

		By("losing the sink altogether")
		sink.server.Close()
		gone := file(ctx, "agent-2")
		Eventually(notified(ctx, gone)).WithTimeout(30 * time.Second).Should(And(Not(BeNil()), HaveField("Status", metav1.ConditionFalse)))
		Expect(notified(ctx, gone)().Message).NotTo(ContainSubstring("of-the-chat"), "the sink's URL may be a secret")
	}, SpecTimeout(5*time.Minute))

	It("follow no redirect", func(ctx SpecContext) {
		elsewhere := newReceiver()
		redirecting := httptest.NewServer(http.RedirectHandler(elsewhere.server.URL, http.StatusTemporaryRedirect))
		DeferCleanup(redirecting.Close)
		s := &notification.Sink{
			URL: redirecting.URL, Client: notification.NewClient(), Clock: clock.RealClock{},
			Keys: controllers.NotificationKeys(kube, client.ObjectKeyFromObject(keys)),
		}
		ar := file(ctx, "agent-1")
		ar.Status.Phase = v1alpha1.PhasePending
		Expect(s.Send(ctx, notification.Of(ar, "cluster-1", time.Now()))).To(MatchError(ContainSubstring("307 Temporary Redirect")))
		Expect(elsewhere.count()).To(BeZero())
	}, SpecTimeout(time.Minute))

	It("are signed by the keys that are there now, old and new while they change", func(ctx SpecContext) {
		start()
		keys.StringData = map[string]string{"new": newKey}
		Expect(kube.Update(ctx, keys)).To(Succeed())
		ar := file(ctx, "agent-1")
		Eventually(notified(ctx, ar)).WithTimeout(30 * time.Second).Should(told("Pending"))
		sink.set(func(r *receiver) { r.key = newKey })
		ar = file(ctx, "agent-2")
		Eventually(notified(ctx, ar)).WithTimeout(30 * time.Second).Should(told("Pending"))
		Expect(sink.problems()).To(BeEmpty())

		By("taking the keys away")
		Expect(kube.Delete(ctx, keys)).To(Succeed())
		ar = file(ctx, "agent-3")
		Eventually(notified(ctx, ar)).WithTimeout(30 * time.Second).Should(And(Not(BeNil()), HaveField("Status", metav1.ConditionFalse),
			HaveField("Message", And(ContainSubstring("keys that sign notifications"), ContainSubstring("does not exist")))))
		before := sink.count()
		Consistently(sink.count).WithTimeout(2*time.Second).Should(Equal(before), "nothing is sent unsigned")
	}, SpecTimeout(3*time.Minute))
})
