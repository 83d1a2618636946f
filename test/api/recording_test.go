package api_test

import (
	"context"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
)

var _ = Describe("writing a SessionRecording", Ordered, ContinueOnFailure, func() {
	var namespace string
	var frank, grace client.Client
	BeforeAll(func(ctx SpecContext) {
		namespace = newNamespace(ctx)
		write := rule("chaperone.dev", "sessionrecordings", "get", "list", "update", "patch", "delete", "create")
		allow(ctx, namespace, "frank", write)
		allow(ctx, namespace, "grace", write, rule("chaperone.dev", "sessionrecordings", "hold"))
		frank, grace = as("frank"), as("grace")
		for _, who := range []client.Client{frank, grace} {
			Eventually(func() error { return who.List(ctx, &v1alpha1.SessionRecordingList{}, client.InNamespace(namespace)) }).
				WithContext(ctx).WithTimeout(10 * time.Second).Should(Succeed())
		}
	})

	recording := func() *v1alpha1.SessionRecording {
		return &v1alpha1.SessionRecording{
			ObjectMeta: metav1.ObjectMeta{GenerateName: "worker-", Namespace: namespace},
			Spec: v1alpha1.SessionRecordingSpec{
				Log: "0123456789abcdef0123456789abcdef", Target: "billing", Protocol: "postgres",
				Pod:       v1alpha1.RecordedPod{Name: "worker", UID: types.UID("3a"), ServiceAccount: "default"},
				StartTime: metav1.NowMicro(),
			},
		}
	}
	filed := func(ctx context.Context) *v1alpha1.SessionRecording {
		out := recording()
		Expect(operator.Create(ctx, out)).To(Succeed())
		return out
	}
	hold := func(ctx context.Context, who client.Client, r *v1alpha1.SessionRecording, held bool) error {
		changed := r.DeepCopy()
		Expect(admin.Get(ctx, client.ObjectKeyFromObject(r), changed)).To(Succeed())
		was := changed.DeepCopy()
		changed.Spec.LegalHold = held
		return who.Patch(ctx, changed, client.MergeFrom(was))
	}

	It("lets the operator alone file one and write its status", func(ctx SpecContext) {
		Expect(grace.Create(ctx, recording())).To(MatchError(ContainSubstring("only the chaperone operator files recordings")))
		r := filed(ctx)
		r.Status.Phase = v1alpha1.RecordingComplete
		Expect(admin.Status().Update(ctx, r)).To(MatchError(ContainSubstring("status is written by the chaperone operator alone")))
		Expect(operator.Status().Update(ctx, r)).To(Succeed())
	})

	It("lets nobody change what was recorded, or for how long", func(ctx SpecContext) {
		r := filed(ctx)
		for _, change := range []func(*v1alpha1.SessionRecording){
			func(r *v1alpha1.SessionRecording) { r.Spec.Retention = &metav1.Duration{Duration: time.Second} },
			func(r *v1alpha1.SessionRecording) { r.Spec.Policies = []string{"another"} },
			func(r *v1alpha1.SessionRecording) { r.Spec.Log = "ffffffffffffffffffffffffffffffff" },
		} {
			changed := r.DeepCopy()
			change(changed)
			Expect(grace.Patch(ctx, changed, client.MergeFrom(r))).To(MatchError(ContainSubstring("a recording cannot be changed")))
		}
	})

	It("asks for the verb hold to place and to lift a legal hold, and to delete what is held", func(ctx SpecContext) {
		r := filed(ctx)
		Expect(hold(ctx, frank, r, true)).To(MatchError(ContainSubstring("takes the RBAC verb hold")))
		Expect(hold(ctx, grace, r, true)).To(Succeed())
		Expect(hold(ctx, frank, r, false)).To(MatchError(ContainSubstring("takes the RBAC verb hold")))
		Expect(frank.Delete(ctx, r)).To(MatchError(ContainSubstring("is under legal hold")))
		Expect(hold(ctx, grace, r, false)).To(Succeed())
		Expect(frank.Delete(ctx, r)).To(Succeed())
	})
})
