package operator_test

import (
	"context"
	"sync/atomic"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
	"github.com/chaperone-dev/chaperone/controllers/broker"
	"github.com/chaperone-dev/chaperone/sidecar/session"
)

// pausing is a client whose next write of a request's status takes as long as pause does.
type pausing struct {
	client.Client
	pause func(client.Object)
}

func (p pausing) Status() client.SubResourceWriter { return pausingStatus{p.Client.Status(), p.pause} }

type pausingStatus struct {
	client.SubResourceWriter
	pause func(client.Object)
}

func (p pausingStatus) Update(ctx context.Context, obj client.Object, opts ...client.SubResourceUpdateOption) error {
	if err := p.SubResourceWriter.Update(ctx, obj, opts...); err != nil {
		return err
	}
	p.pause(obj)
	return nil
}

var _ = Describe("A grant that ends while its use is counted", func() {
	for what, given := range map[string]v1alpha1.StampedDecision{
		"for one use":    {Verdict: v1alpha1.VerdictApprove},
		"for a duration": {Verdict: v1alpha1.VerdictApprove, Duration: &metav1.Duration{Duration: time.Minute}},
	} {
		It("releases nothing, "+what, func(ctx SpecContext) {
			ns := namespace(ctx, nil)
			clk := clocktesting.NewFakeClock(time.Now())
			var paused atomic.Bool
			o := startOperator(GinkgoT().TempDir(), func(options *broker.Options) {
				options.Clock = clk
				options.Client = pausing{options.Client, func(obj client.Object) {
					if _, ok := obj.(*v1alpha1.ApprovalRequest); ok && paused.CompareAndSwap(false, true) {
						clk.Step(time.Hour) // the API server took so long to write it
					}
				}}
			})
			apply(ctx, &v1alpha1.AgentPolicy{}, ns, billingPolicy)
			c := o.connect(o.startPod(ctx, ns, "agent", agent, nil).token)
			a := ask(ctx, c, ns+"/billing", "UPDATE t SET a = 1", 60)
			name := a.name()
			decide(ctx, o.keys.DecisionMAC, ns, name, "alice", given)
			Expect(a.outcome()).To(And(MatchError(session.ErrExpired), MatchError(ContainSubstring("before the command could begin"))))
			Expect(a.grant).To(BeNil())
			list := &v1alpha1.ApprovalRequestList{}
			Expect(kube.List(ctx, list, client.InNamespace(ns))).To(Succeed())
			Expect(list.Items).To(HaveLen(1), "people are not asked again by themselves")
			Expect(list.Items[0].Status.Uses).To(BeEquivalentTo(1))
		}, SpecTimeout(time.Minute))
	}
})
