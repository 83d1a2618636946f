package operator_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
	"github.com/chaperone-dev/chaperone/controllers/broker"
	"github.com/chaperone-dev/chaperone/controllers/decision"
	"github.com/chaperone-dev/chaperone/sidecar/control"
	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/session"
)

// decide appends a decision as admission does; a nil key leaves the MAC to whoever forges it.
func decide(ctx context.Context, key []byte, namespace, name, user string, entry v1alpha1.StampedDecision) {
	GinkgoHelper()
	Expect(retry.RetryOnConflict(retry.DefaultRetry, func() error {
		ar := &v1alpha1.ApprovalRequest{}
		if err := kube.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, ar); err != nil {
			return err
		}
		entry.User, entry.Time = user, metav1.NewTime(time.Now().Truncate(time.Second))
		if entry.Groups == nil {
			entry.Groups = []string{"dba"}
		}
		entry.MAC = decision.Sign(key, ar, entry)
		if key == nil {
			entry.MAC = strings.Repeat("0", 64)
		}
		ar.Spec.Decisions = append(ar.Spec.Decisions, entry)
		return kube.Update(ctx, ar)
	})).To(Succeed())
}

// administrator is the file of a kubeconfig.
func administrator() string {
	GinkgoHelper()
	file := filepath.Join(GinkgoT().TempDir(), "kubeconfig")
	Expect(os.WriteFile(file, environment.KubeConfig, 0o600)).To(Succeed())
	return file
}

// asking is one command that waits.
type asking struct {
	request chan string
	done    chan struct{}
	grant   *session.Grant
	err     error
}

func ask(ctx context.Context, c *control.Client, policyName, statement string, wait int64) *asking {
	return askWith(ctx, c, policyName, statement, wait, 1)
}

func askWith(ctx context.Context, c *control.Client, policyName, statement string, wait, generation int64) *asking {
	sum := sha256.Sum256([]byte(statement))
	a := &asking{request: make(chan string, 1), done: make(chan struct{})}
	go func() {
		defer close(a.done)
		a.grant, a.err = c.Await(ctx, session.Ask{
			Verdict: policy.Verdict{
				Action: policy.RequireApproval, Policy: policyName, Generation: generation, Rule: "writes",
				Approval: &policy.Approval{Required: 1, TimeoutSeconds: 120, WaitSeconds: wait},
			},
			Target: "billing", Protocol: policy.ProtocolPostgres,
			Text: statement, Length: len(statement), Digest: hex.EncodeToString(sum[:]),
		}, func(name string) { a.request <- name })
	}()
	return a
}

// outcome waits for the end.
func (a *asking) outcome() error {
	GinkgoHelper()
	Eventually(a.done).WithTimeout(20 * time.Second).Should(BeClosed())
	return a.err
}

func (a *asking) name() string {
	GinkgoHelper()
	var name string
	Eventually(a.request).WithTimeout(10 * time.Second).Should(Receive(&name))
	return name
}

var _ = Describe("The broker's approvals", func() {
	var o *operator
	var ns string
	var s *sidecar
	var c *control.Client
	approve := v1alpha1.StampedDecision{Verdict: v1alpha1.VerdictApprove}
	BeforeEach(func(ctx SpecContext) {
		ns = namespace(ctx, nil)
		o = startOperator(GinkgoT().TempDir())
		apply(ctx, &v1alpha1.AgentPolicy{}, ns, billingPolicy)
		s = o.startPod(ctx, ns, "agent", agent, nil)
		c = o.connect(s.token)
	})
	billing := func() string { return ns + "/billing" }
	requests := func(ctx context.Context) []v1alpha1.ApprovalRequest {
		GinkgoHelper()
		list := &v1alpha1.ApprovalRequestList{}
		Expect(kube.List(ctx, list, client.InNamespace(ns))).To(Succeed())
		return list.Items
	}

	It("release a command once, as soon as it is approved", func(ctx SpecContext) {
		a := ask(ctx, c, billing(), "UPDATE customers SET name = 'x'", 60)
		name := a.name()
		Expect(name).To(HavePrefix("agent-"))
		ar := &v1alpha1.ApprovalRequest{}
		Expect(kube.Get(ctx, client.ObjectKey{Namespace: ns, Name: name}, ar)).To(Succeed())
		Expect(ar.Spec.Pod.UID).To(Equal(s.pod.UID))
		Expect(ar.Spec.Command.Text).To(Equal("UPDATE customers SET name = 'x'"))
		Expect(ar.Spec.Approval.Groups).To(Equal([]string{"dba"}))
		Consistently(a.done).WithTimeout(time.Second).ShouldNot(BeClosed())

		begin := time.Now()
		decide(ctx, o.keys.DecisionMAC, ns, name, "alice", approve)
		Expect(a.outcome()).To(Succeed())
		AddReportEntry("from the decision to the grant", time.Since(begin).String())
		Expect(a.grant.Request).To(Equal(name))
		Expect(a.grant.Deciders).To(Equal([]string{"alice"}))
		Expect(kube.Get(ctx, client.ObjectKeyFromObject(ar), ar)).To(Succeed())
		Expect(ar.Status.Phase).To(Equal(v1alpha1.PhaseUsed))
		Expect(ar.Status.Uses).To(BeEquivalentTo(1))

		By("asking for the same again, which needs another approval")
		again := ask(ctx, c, billing(), "UPDATE customers SET name = 'x'", 0)
		Expect(again.outcome()).To(MatchError(session.ErrPending))
		Expect(requests(ctx)).To(HaveLen(2))
	}, SpecTimeout(time.Minute))

	It("join identical commands into one request and give its grant to one of them", func(ctx SpecContext) {
		var all []*asking
		for range 5 {
			all = append(all, ask(ctx, c, billing(), "UPDATE t SET a = 1", 60))
		}
		name := all[0].name()
		for _, a := range all[1:] {
			Expect(a.name()).To(Equal(name))
		}
		Expect(requests(ctx)).To(HaveLen(1))
		decide(ctx, o.keys.DecisionMAC, ns, name, "alice", approve)
		granted := func() (n int) {
			for _, a := range all {
				select {
				case <-a.done:
					n++
				default:
				}
			}
			return n
		}
		Eventually(granted).WithTimeout(10 * time.Second).Should(Equal(1))
		Consistently(granted).WithTimeout(2 * time.Second).Should(Equal(1))
		Expect(requests(ctx)).To(HaveLen(2), "the other four wait for one request more")
	}, SpecTimeout(time.Minute))

	It("give one grant to one of two replicas that race for it", func(ctx SpecContext) {
		other := startOperator(o.folder)
		second := other.connect(s.token)
		for i := range 5 {
			statement := fmt.Sprintf("UPDATE t SET a = %d", i)
			a, b := ask(ctx, c, billing(), statement, 60), ask(ctx, second, billing(), statement, 60)
			name := a.name()
			Expect(b.name()).To(Equal(name))
			decide(ctx, o.keys.DecisionMAC, ns, name, "alice", approve)
			Eventually(func() bool {
				select {
				case <-a.done:
					return true
				case <-b.done:
					return true
				default:
					return false
				}
			}).WithTimeout(10 * time.Second).Should(BeTrue())
			ar := &v1alpha1.ApprovalRequest{}
			Expect(kube.Get(ctx, client.ObjectKey{Namespace: ns, Name: name}, ar)).To(Succeed())
			Expect(ar.Status.Uses).To(BeEquivalentTo(1))
		}
	}, SpecTimeout(90*time.Second))

	It("believe no cache that is behind a denial", func(ctx SpecContext) {
		a := ask(ctx, c, billing(), "UPDATE t SET a = 1", 0)
		Expect(a.outcome()).To(MatchError(session.ErrPending))
		name := a.name()
		decide(ctx, o.keys.DecisionMAC, ns, name, "alice", approve)
		approved := &v1alpha1.ApprovalRequest{}
		Expect(kube.Get(ctx, client.ObjectKey{Namespace: ns, Name: name}, approved)).To(Succeed())
		decide(ctx, o.keys.DecisionMAC, ns, approved.Name, "bob", v1alpha1.StampedDecision{Verdict: v1alpha1.VerdictDeny, Reason: "not this one"})
		behind := startOperator(o.folder, func(opts *broker.Options) { opts.Client = &staleReader{Client: opts.Client, obj: approved} })
		again := ask(ctx, behind.connect(s.token), billing(), "UPDATE t SET a = 1", 60)
		Expect(again.outcome()).To(And(MatchError(session.ErrDenied), MatchError(ContainSubstring("denied by bob: not this one"))))
	}, SpecTimeout(time.Minute))

	It("believe no cache that is behind a use", func(ctx SpecContext) {
		a := ask(ctx, c, billing(), "UPDATE t SET a = 1", 0)
		Expect(a.outcome()).To(MatchError(session.ErrPending))
		name := a.name()
		decide(ctx, o.keys.DecisionMAC, ns, name, "alice", approve)
		approved := &v1alpha1.ApprovalRequest{}
		Expect(kube.Get(ctx, client.ObjectKey{Namespace: ns, Name: name}, approved)).To(Succeed())
		Eventually(func() error { return ask(ctx, c, billing(), "UPDATE t SET a = 1", 0).outcome() }).WithTimeout(30 * time.Second).Should(Succeed())
		behind := startOperator(o.folder, func(opts *broker.Options) { opts.Client = &staleReader{Client: opts.Client, obj: approved} })
		again := ask(ctx, behind.connect(s.token), billing(), "UPDATE t SET a = 1", 0)
		Expect(again.outcome()).To(MatchError(session.ErrPending))
		Expect(requests(ctx)).To(HaveLen(2), "it needs an approval of its own")
		Expect(kube.Get(ctx, client.ObjectKeyFromObject(approved), approved)).To(Succeed())
		Expect(approved.Status.Uses).To(BeEquivalentTo(1))
	}, SpecTimeout(time.Minute))

	It("refuse what was denied, with the reason, and do not ask people again", func(ctx SpecContext) {
		a := ask(ctx, c, billing(), "UPDATE t SET a = 1", 60)
		decide(ctx, o.keys.DecisionMAC, ns, a.name(), "bob", v1alpha1.StampedDecision{Verdict: v1alpha1.VerdictDeny, Reason: "not before the audit"})
		Expect(a.outcome()).To(And(MatchError(session.ErrDenied), MatchError(ContainSubstring("denied by bob: not before the audit"))))
		again := ask(ctx, c, billing(), "UPDATE t SET a = 1", 60)
		Expect(again.outcome()).To(MatchError(session.ErrDenied))
		Expect(requests(ctx)).To(HaveLen(1))
	}, SpecTimeout(time.Minute))

	It("count no decision that admission has not stamped", func(ctx SpecContext) {
		a := ask(ctx, c, billing(), "UPDATE t SET a = 1", 60)
		name := a.name()
		decide(ctx, nil, ns, name, "mallory", approve)
		decide(ctx, []byte(strings.Repeat("k", 32)), ns, name, "mallory", approve)
		decide(ctx, o.keys.DecisionMAC, ns, name, "system:serviceaccount:"+ns+":default", approve)
		decide(ctx, o.keys.DecisionMAC, ns, name, "eve", v1alpha1.StampedDecision{Verdict: v1alpha1.VerdictApprove, Groups: []string{"sales"}})
		By("writing the phase, which no release reads")
		ar := &v1alpha1.ApprovalRequest{}
		Expect(kube.Get(ctx, client.ObjectKey{Namespace: ns, Name: name}, ar)).To(Succeed())
		ar.Status.Phase = v1alpha1.PhaseApproved
		Expect(kube.Status().Update(ctx, ar)).To(Succeed())
		Consistently(a.done).WithTimeout(3 * time.Second).ShouldNot(BeClosed())
		decide(ctx, o.keys.DecisionMAC, ns, name, "alice", approve)
		Expect(a.outcome()).To(Succeed())
	}, SpecTimeout(time.Minute))

	It("let no grant outlive the rule that asked for it", func(ctx SpecContext) {
		a := ask(ctx, c, billing(), "UPDATE t SET a = 1", 60)
		name := a.name()
		ap := &v1alpha1.AgentPolicy{}
		Expect(kube.Get(ctx, client.ObjectKey{Namespace: ns, Name: "billing"}, ap)).To(Succeed())
		ap.Spec.Targets[0].Postgres.Rules[0].Action, ap.Spec.Targets[0].Postgres.Rules[0].Approval = v1alpha1.ActionDeny, nil
		Expect(kube.Update(ctx, ap)).To(Succeed())
		time.Sleep(time.Second) // until the operator's own watch has seen it
		decide(ctx, o.keys.DecisionMAC, ns, name, "alice", approve)
		Expect(a.outcome()).To(MatchError(ContainSubstring("asks for no approval")))
	}, SpecTimeout(time.Minute))

	It("answer at once where nobody waits, and release the same command once it was approved", func(ctx SpecContext) {
		first := ask(ctx, c, billing(), "UPDATE t SET a = 1", 0)
		Expect(first.outcome()).To(MatchError(session.ErrPending))
		decide(ctx, o.keys.DecisionMAC, ns, first.name(), "alice", v1alpha1.StampedDecision{Verdict: v1alpha1.VerdictApprove, Duration: &metav1.Duration{Duration: time.Minute}})
		Eventually(func() error { return ask(ctx, c, billing(), "UPDATE t SET a = 1", 0).outcome() }).WithTimeout(5 * time.Second).Should(Succeed())
		By("using a grant for a duration again, and by no other command")
		Expect(ask(ctx, c, billing(), "UPDATE t SET a = 1", 0).outcome()).To(Succeed())
		Expect(ask(ctx, c, billing(), "UPDATE t SET a = 2", 0).outcome()).To(MatchError(session.ErrPending))
		By("asking from another pod")
		other := o.connect(o.startPod(ctx, ns, "other", agent, nil).token)
		Expect(ask(ctx, other, billing(), "UPDATE t SET a = 1", 0).outcome()).To(MatchError(session.ErrPending))
	}, SpecTimeout(time.Minute))

	It("count for the whole workload where the rule says so, by owner and digests", func(ctx SpecContext) {
		apply(ctx, &v1alpha1.AgentPolicy{}, ns, `
metadata: {name: nightly}
spec:
  podSelector: {matchLabels: {app: agent}}
  targets:
  - name: billing
    hosts: [nightly-db.svc]
    port: 5432
    postgres: {rules: [{name: writes, match: {commands: [UPDATE]}, action: RequireApproval, approval: {scope: Workload}}]}`)
		cron := apply(ctx, &batchv1.CronJob{}, ns, `
metadata: {name: report}
spec:
  schedule: "0 3 * * *"
  jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: agent, image: localhost/agent:1}]}}}}`)
		// run is one night's pod: a Job of the CronJob, a pod of the Job, its image as the kubelet pulled it.
		run := func(name, digest string) *control.Client {
			job := &batchv1.Job{Spec: batchv1.JobSpec{Template: cron.Spec.JobTemplate.Spec.Template}}
			job.Name, job.Namespace = name, ns
			Expect(controllerutil.SetControllerReference(cron, job, scheme)).To(Succeed())
			Expect(kube.Create(ctx, job)).To(Succeed())
			s := o.startPod(ctx, ns, name, agent, func(p *corev1.Pod) {
				Expect(controllerutil.SetControllerReference(job, p, scheme)).To(Succeed())
			})
			s.pod.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "agent", ImageID: "localhost/agent@sha256:" + digest}}
			Expect(kube.Status().Update(ctx, s.pod)).To(Succeed())
			return o.connect(s.token)
		}
		monday := run("report-1", "aa")
		first := ask(ctx, monday, ns+"/nightly", "UPDATE t SET a = 1", 0)
		Expect(first.outcome()).To(MatchError(session.ErrPending))
		name := first.name()
		Expect(requests(ctx)[0].Spec.Pod.Owner).To(Equal("CronJob/report"))
		decide(ctx, o.keys.DecisionMAC, ns, name, "alice", approve)
		By("asking from a pod of another image, which is another agent")
		Expect(ask(ctx, run("report-2", "bb"), ns+"/nightly", "UPDATE t SET a = 1", 0).outcome()).To(MatchError(session.ErrPending))
		By("asking from the next night's pod")
		tuesday := run("report-3", "aa")
		var last *asking
		Eventually(func() error {
			last = ask(ctx, tuesday, ns+"/nightly", "UPDATE t SET a = 1", 0)
			return last.outcome()
		}).WithTimeout(5 * time.Second).Should(Succeed())
		Expect(last.grant.Request).To(Equal(name))
	}, SpecTimeout(time.Minute))

	It("bound what one pod can ask of people", func(ctx SpecContext) {
		var mu sync.Mutex
		refused := 0
		var group sync.WaitGroup
		for i := range 20 {
			group.Go(func() {
				err := ask(ctx, c, billing(), fmt.Sprintf("UPDATE t SET a = %d", i), 0).outcome()
				if err != nil && !errors.Is(err, session.ErrPending) {
					Expect(err).To(MatchError(ContainSubstring("waiting for a decision already")))
					mu.Lock()
					refused++
					mu.Unlock()
				}
			})
		}
		group.Wait()
		Expect(requests(ctx)).To(HaveLen(10))
		Expect(refused).To(Equal(10))
	}, SpecTimeout(time.Minute))

	It("show approvers neither terminal escapes nor a hidden end", func(ctx SpecContext) {
		statement := "UPDATE t SET a = 1\x1b[2J\u202e;\n" + strings.Repeat(" ", 20000) + "DROP TABLE t"
		Expect(ask(ctx, c, billing(), statement, 0).outcome()).To(MatchError(session.ErrPending))
		got := requests(ctx)[0].Spec.Command
		Expect(got.Text).To(And(HavePrefix(`UPDATE t SET a = 1\x1b[2J\u{202e};\n`), HaveSuffix("DROP TABLE t"), ContainSubstring("characters left out")))
		Expect(got.Length).To(BeEquivalentTo(len(statement)))
	}, SpecTimeout(time.Minute))

	It("show with kubectl nothing that a terminal acts on, of a megabyte as well, and always how long it is", func(ctx SpecContext) {
		statement := "UPDATE t SET a = 1\x1b]0;title\x07\x1b[2J\u202e\u2066\u009b31m\r\n\x00;" + strings.Repeat(" ", 1_000_000) + "\n\x1b[8mDROP TABLE t"
		a := ask(ctx, c, billing(), statement, 0)
		Expect(a.outcome()).To(MatchError(session.ErrPending))
		name := a.name()
		sum := sha256.Sum256([]byte(statement))
		for format, holds := range map[string]string{
			"yaml": hex.EncodeToString(sum[:]), "json": hex.EncodeToString(sum[:]), "wide": name,
			"jsonpath={.spec.command.text}": "DROP TABLE t", "jsonpath={.spec.command.length}": strconv.Itoa(len(statement)),
		} {
			out, err := exec.CommandContext(ctx, filepath.Join(os.Getenv("KUBEBUILDER_ASSETS"), "kubectl"), "--kubeconfig", administrator(),
				"get", "apr", name, "-n", ns, "-o", format).CombinedOutput()
			Expect(err).NotTo(HaveOccurred(), string(out))
			Expect(string(out)).To(ContainSubstring(holds), format)
			Expect(strings.IndexFunc(string(out), func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) })).To(Equal(-1), "%s: %q", format, out)
			Expect(len(out)).To(BeNumerically("<", 64<<10), format)
		}
	}, SpecTimeout(2*time.Minute))

	It("file nothing that the policy does not ask for", func(ctx SpecContext) {
		other := ask(ctx, c, ns+"/other", "UPDATE t SET a = 1", 0)
		Expect(other.outcome()).To(MatchError(ContainSubstring("no policy " + ns + "/other is for this pod")))
		Expect(requests(ctx)).To(BeEmpty())
	}, SpecTimeout(time.Minute))
})
