package operator_test

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/test/kubeserver"
)

// kubeconfigOf is a kubeconfig for an account of the server.
func kubeconfigOf(s *kubeserver.Server, token string) string {
	GinkgoHelper()
	return written(s.Address, s.CAPEM(), token)
}

func written(address string, root []byte, token string) string {
	GinkgoHelper()
	config := clientcmdapi.NewConfig()
	config.Clusters["c"] = &clientcmdapi.Cluster{Server: "https://" + address, CertificateAuthorityData: root}
	config.AuthInfos["u"] = &clientcmdapi.AuthInfo{Token: token}
	config.Contexts["x"] = &clientcmdapi.Context{Cluster: "c", AuthInfo: "u", Namespace: "shop"}
	config.CurrentContext = "x"
	text, err := clientcmd.Write(*config)
	Expect(err).NotTo(HaveOccurred())
	return string(text)
}

// A second API server, with accounts and roots of its own, is the other cluster. Policy and Secret are objects of the first
// one, and reach the sidecar through the operator alone.
var _ = Describe("A kubeconfig Secret for another cluster", func() {
	It("makes kubectl an account there, held to the policy's rules, until the Secret has another one", func(ctx SpecContext) {
		other, err := kubeserver.Start()
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(func() { Expect(other.Stop()).To(Succeed()) })
		_, err = other.Client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop"}}, metav1.CreateOptions{})
		Expect(err).NotTo(HaveOccurred())
		accounts := map[string]string{}
		for _, name := range []string{"reporter", "successor"} {
			accounts[name], err = other.Account(ctx, "shop", name, kubeserver.Everything())
			Expect(err).NotTo(HaveOccurred())
		}
		kubelet, err := other.StartKubelet(ctx, "node", GinkgoT().TempDir())
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(kubelet.Stop)
		Expect(other.Pod(ctx, "shop", "far", "node", "only")).To(Succeed())

		ns := namespace(ctx, nil)
		o := startOperator(GinkgoT().TempDir())
		secret := apply(ctx, &corev1.Secret{}, ns, "metadata: {name: elsewhere}\n")
		secret.StringData = map[string]string{"kubeconfig": kubeconfigOf(other, accounts["reporter"])}
		Expect(kube.Update(ctx, secret)).To(Succeed())
		at := netip.MustParseAddrPort(other.Address)
		apply(ctx, &v1alpha1.AgentPolicy{}, ns, `
metadata: {name: elsewhere}
spec:
  podSelector: {matchLabels: {app: agent}}
  targets:
  - name: elsewhere
    hosts: [localhost]
    port: %d
    kubernetes:
      credentials: {secretRef: {name: elsewhere}}
      rules:
      - {name: no-deletes, match: {verbs: [delete]}, action: Deny, message: agents remove nothing there}
      - {name: looking, match: {resources: [pods/exec], programs: [echo]}, action: Allow}
      defaultAction: Allow
`, at.Port())
		client := o.connect(o.startPod(ctx, ns, "agent", agent, nil).token)
		policies := follow(client)
		Eventually(names(policies)).WithTimeout(30 * time.Second).Should(Equal([]string{"elsewhere"}))

		s, err := kubeserver.FrontOf(ctx, GinkgoT().TempDir(), "localhost", other.Address, "the pod's own token", config.CAData, policy.Kubernetes{DefaultAction: policy.Deny})
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(s.Stop)
		rules, err := policies.Current()
		Expect(err).NotTo(HaveOccurred())
		Expect(s.Obey(rules, client)).To(Succeed())
		agents, home := filepath.Join(GinkgoT().TempDir(), "kubeconfig"), GinkgoT().TempDir()
		Expect(os.WriteFile(agents, []byte(written(s.Address(), s.CAPEM(), kubeserver.Placeholder)), 0o600)).To(Succeed())
		kubectl := func(args ...string) string {
			ctx, cancel := context.WithTimeout(ctx, time.Minute)
			defer cancel()
			cmd := exec.CommandContext(ctx, other.Kubectl, args...)
			cmd.Env = append(os.Environ(), "KUBECONFIG="+agents, "HOME="+home)
			out, _ := cmd.CombinedOutput()
			return string(out)
		}
		whoami := func() string { return kubectl("auth", "whoami", "-o", "jsonpath={.status.userInfo.username}") }

		Expect(whoami()).To(Equal("system:serviceaccount:shop:reporter"))
		Expect(kubectl("get", "pods", "-o", "name")).To(Equal("pod/far\n"))
		Expect(kubectl("exec", "far", "--", "echo", "from there")).To(Equal("from there\n"))
		Expect(kubectl("exec", "far", "--", "touch", "x")).To(ContainSubstring("refused by Chaperone"))
		Expect(kubectl("delete", "pod", "far")).To(And(ContainSubstring("agents remove nothing there"), ContainSubstring(ns+"/elsewhere"), ContainSubstring("no-deletes")))
		_, err = other.Client.CoreV1().Pods("shop").Get(ctx, "far", metav1.GetOptions{})
		Expect(err).NotTo(HaveOccurred())
		Expect(kubectl("--server", "https://"+other.Address, "--insecure-skip-tls-verify", "--certificate-authority=", "get", "pods")).To(
			ContainSubstring("You must be logged in to the server"), "the agent's own token is worth nothing there")

		secret.StringData = map[string]string{"kubeconfig": kubeconfigOf(other, accounts["successor"])}
		Expect(kube.Update(ctx, secret)).To(Succeed())
		Eventually(whoami).WithTimeout(time.Minute).Should(Equal("system:serviceaccount:shop:successor"))
		Expect(kube.Delete(ctx, secret)).To(Succeed())
		Eventually(whoami).WithTimeout(time.Minute).Should(ContainSubstring(fmt.Sprintf("secret %s/elsewhere does not exist", ns)))
	}, SpecTimeout(6*time.Minute))
})
