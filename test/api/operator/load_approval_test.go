package operator_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/yaml"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
)

const ofApprovals = "approvalrequests"

// admit has the API server ask the program's own webhooks about approval requests, by the manifest that installs them:
// through a Service that is the loopback's name, as addresses of the loopback are none that endpoints may have.
func (p *process) admit(ctx context.Context) {
	GinkgoHelper()
	text, err := os.ReadFile(filepath.Join("..", "..", "..", "config", "webhook", "manifests.yaml"))
	Expect(err).NotTo(HaveOccurred())
	mutating, validating := &admissionregistrationv1.MutatingWebhookConfiguration{}, &admissionregistrationv1.ValidatingWebhookConfiguration{}
	for document := range strings.SplitSeq(string(text), "\n---\n") {
		switch {
		case strings.Contains(document, "kind: Mutating"):
			Expect(yaml.UnmarshalStrict([]byte(document), mutating)).To(Succeed())
		case strings.Contains(document, "kind: Validating"):
			Expect(yaml.UnmarshalStrict([]byte(document), validating)).To(Succeed())
		}
	}
	others := func(rules []admissionregistrationv1.RuleWithOperations) bool {
		return !slices.ContainsFunc(rules, func(r admissionregistrationv1.RuleWithOperations) bool {
			return slices.Contains(r.Resources, ofApprovals)
		})
	}
	mutating.Webhooks = slices.DeleteFunc(mutating.Webhooks, func(w admissionregistrationv1.MutatingWebhook) bool { return others(w.Rules) })
	validating.Webhooks = slices.DeleteFunc(validating.Webhooks, func(w admissionregistrationv1.ValidatingWebhook) bool { return others(w.Rules) })
	for i := range mutating.Webhooks {
		mutating.Webhooks[i].ClientConfig.Service.Port = ptr.To(p.webhookPort)
	}
	for i := range validating.Webhooks {
		validating.Webhooks[i].ClientConfig.Service.Port = ptr.To(p.webhookPort)
	}
	Expect(mutating.Webhooks).NotTo(BeEmpty())
	Expect(validating.Webhooks).NotTo(BeEmpty())
	service := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "chaperone-webhook", Namespace: operatorNamespace},
		Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "localhost", Ports: []corev1.ServicePort{{Port: p.webhookPort}}},
	}
	for _, obj := range []client.Object{service, mutating, validating} {
		Expect(kube.Create(ctx, obj)).To(Succeed())
		DeferCleanup(func(ctx SpecContext) { Expect(kube.Delete(ctx, obj)).To(Succeed()) })
	}
}

// approver is a person whom the approver's role is bound to.
type approver struct {
	client              client.Client
	kubeconfig, kubectl string
}

func newApprover(ctx context.Context, ns, name string, groups ...string) *approver {
	GinkgoHelper()
	role := &rbacv1.ClusterRole{}
	text, err := os.ReadFile(filepath.Join("..", "..", "..", "config", "rbac", "approver.yaml"))
	Expect(err).NotTo(HaveOccurred())
	Expect(yaml.UnmarshalStrict(text, role)).To(Succeed())
	Expect(client.IgnoreAlreadyExists(kube.Create(ctx, role))).To(Succeed())
	Expect(kube.Create(ctx, &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "approvers-" + name, Namespace: ns},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role.Name},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: name}},
	})).To(Succeed())
	user, err := environment.AddUser(envtest.User{Name: name, Groups: groups}, &rest.Config{QPS: -1})
	Expect(err).NotTo(HaveOccurred())
	text, err = user.KubeConfig()
	Expect(err).NotTo(HaveOccurred())
	a := &approver{kubeconfig: filepath.Join(GinkgoT().TempDir(), name), kubectl: filepath.Join(os.Getenv("KUBEBUILDER_ASSETS"), "kubectl")}
	Expect(os.WriteFile(a.kubeconfig, text, 0o600)).To(Succeed())
	a.client, err = client.New(user.Config(), client.Options{Scheme: scheme})
	Expect(err).NotTo(HaveOccurred())
	return a
}

const approves = `{"spec":{"decision":{"verdict":"Approve","reason":"checked with finance"}}}`

// byKubectl decides with the command that requests show.
func (a *approver) byKubectl(ctx context.Context, ns, name string) error {
	cmd := exec.CommandContext(ctx, a.kubectl, "--kubeconfig", a.kubeconfig, "--cache-dir", filepath.Dir(a.kubeconfig),
		"patch", "apr", name, "-n", ns, "--type=merge", "-p", approves)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// byClient sends the same patch on a connection that is there already.
func (a *approver) byClient(ctx context.Context, ns, name string) error {
	ar := &v1alpha1.ApprovalRequest{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name}}
	return a.client.Patch(ctx, ar, client.RawPatch(types.MergePatchType, []byte(approves)))
}

// approved has agents run statements that wait, one after the other, and returns how long it takes from the beginning
// of decide until the database itself says, by its clock, that the statement runs; and how long decide took of it.
func approved(ctx context.Context, p *process, ns string, gates []*gate, count int, what string, decide func(ctx context.Context, ns, name string) error) (all, deciding []time.Duration) {
	GinkgoHelper()
	var slowest, slowestDecision time.Duration
	var slow string
	for i := range count {
		g := gates[i%len(gates)]
		conn, err := g.connect(ctx, "postgres")
		Expect(err).NotTo(HaveOccurred())
		type answer struct {
			at  string
			err error
		}
		answered := make(chan answer, 1)
		go func() {
			statement := fmt.Sprintf("UPDATE load SET n = %d, what = '%s' RETURNING (extract(epoch FROM clock_timestamp()) * 1000000)::bigint", i, what)
			results, err := conn.Exec(ctx, statement).ReadAll()
			if err != nil || len(results) != 1 || len(results[0].Rows) != 1 {
				answered <- answer{err: fmt.Errorf("%d results: %w", len(results), err)}
				return
			}
			answered <- answer{at: string(results[0].Rows[0][0])}
		}()
		var name string
		Eventually(g.filed).WithContext(ctx).WithTimeout(60 * time.Second).Should(Receive(&name))
		begin := time.Now()
		Expect(decide(ctx, ns, name)).To(Succeed())
		decided := time.Since(begin)
		deciding = append(deciding, decided)
		var a answer
		Eventually(answered).WithContext(ctx).WithTimeout(60 * time.Second).Should(Receive(&a))
		Expect(a.err).NotTo(HaveOccurred())
		at, err := strconv.ParseInt(a.at, 10, 64)
		Expect(err).NotTo(HaveOccurred())
		took := time.UnixMicro(at).Sub(begin)
		if all = append(all, took); took > slowest {
			slowest, slowestDecision, slow = took, decided, name
		}
		Expect(conn.Close(ctx)).To(Succeed())
	}
	said, err := os.ReadFile(p.output)
	Expect(err).NotTo(HaveOccurred())
	for line := range strings.SplitSeq(string(said), "\n") {
		if strings.Contains(line, slow) && strings.Contains(line, "released") {
			fmt.Fprintf(GinkgoWriter, "the slowest, %s, of which %s to decide: %s\n", slowest, slowestDecision, line)
		}
	}
	return all, deciding
}
