package e2e

import (
	"context"
	"encoding/base64"
	"fmt"
	"regexp"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	gossh "golang.org/x/crypto/ssh"

	"github.com/chaperone-dev/chaperone/test/environment"
)

// certifiedPolicy has two targets that are entered with certificates: a pod, and a server that is none.
func certifiedPolicy(namespace string, pod *environment.SSHServer) string {
	target := func(name, hosts string) string {
		return fmt.Sprintf(`  - name: %[1]s
    hosts: [%[2]s]
    port: 22
    ssh:
      user: %[3]s
      credentials: {certificateAuthorityRef: {name: people}}
      knownHosts: {configMapKeyRef: {name: people-hosts, key: known_hosts}}
      rules:
      - name: looking
        match: {programs: [cat, echo, id, ls]}
        action: Allow
`, name, hosts, environment.SSHUser)
	}
	return fmt.Sprintf(`apiVersion: chaperone.dev/v1alpha1
kind: AgentPolicy
metadata: {name: ops, namespace: %s}
spec:
  podSelector: {matchLabels: {app: agent}}
  targets:
%s%s---
`, namespace, target("pod", pod.Host()), target("outside", environment.OutsideHost+", "+environment.OutsideAddress))
}

// certificates are those that a server's log says it was shown.
func certificates(g Gomega, log string) (out []*gossh.Certificate) {
	for _, found := range regexp.MustCompile(`(?m)^certificate (\S+)$`).FindAllStringSubmatch(log, -1) {
		blob, err := base64.StdEncoding.DecodeString(found[1])
		g.Expect(err).NotTo(HaveOccurred())
		key, err := gossh.ParsePublicKey(blob)
		g.Expect(err).NotTo(HaveOccurred())
		out = append(out, key.(*gossh.Certificate))
	}
	return out
}

var _ = Describe("SSH with certificates", Ordered, func() {
	var namespace, uid string
	var authority gossh.PublicKey
	var pod *environment.SSHServer
	var outside *environment.OutsideSSHServer
	ssh := func(ctx context.Context, host, command string) result {
		return inAgent(ctx, namespace, "ssh -o BatchMode=yes -o StrictHostKeyChecking=yes "+host+" "+command)
	}
	// expectCertificate is about the last certificate that a server accepted.
	expectCertificate := func(g Gomega, log, target string) {
		name := fmt.Sprintf("chaperone pod=%[1]s/agent uid=%[2]s policy=%[1]s/ops target=%[3]s", namespace, uid, target)
		g.Expect(log).To(ContainSubstring(`Accepted certificate ID "`+name+`"`), "sshd says whose it is")
		all := certificates(g, log)
		g.Expect(all).NotTo(BeEmpty())
		c := all[len(all)-1]
		g.Expect(c.KeyId).To(Equal(name))
		g.Expect(c.ValidPrincipals).To(Equal([]string{environment.SSHUser}))
		g.Expect(c.SignatureKey.Marshal()).To(Equal(authority.Marshal()))
		after, before := time.Unix(int64(c.ValidAfter), 0), time.Unix(int64(c.ValidBefore), 0)
		g.Expect(before.Sub(after)).To(And(BeNumerically(">", time.Minute), BeNumerically("<=", 6*time.Minute)), "a minute of it is for clocks that are late")
		g.Expect(c.Extensions).NotTo(HaveKey("permit-user-rc"))
	}

	BeforeAll(func(ctx context.Context) {
		namespace = newNamespace(ctx)
		key, keyPEM, err := environment.NewSSHAuthority()
		Expect(err).NotTo(HaveOccurred())
		authority = key
		outside, err = env.StartOutsideSSHServer(ctx, authority)
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(func() {
			if CurrentSpecReport().Failed() {
				AddReportEntry("the server outside", outside.Log())
			}
			outside.Stop()
		})
		pod = &environment.SSHServer{Namespace: namespace, Name: "bastion", Files: map[string]string{"note": "kept in a pod\n"}, Authority: authority}
		Expect(pod.Deploy(ctx, env)).To(Succeed())
		Expect(env.SSHSecret(ctx, namespace, "people", keyPEM, append(pod.KnownHosts, outside.KnownHosts...))).To(Succeed())
		startAgent(ctx, namespace, certifiedPolicy(namespace, pod))
		uid = strings.TrimSpace(kubectl(ctx, "get", "pod", "agent", "-n", namespace, "-o", "jsonpath={.metadata.uid}"))
	})

	It("reaches a pod with a certificate that names the agent's pod and is good for minutes", func(ctx context.Context) {
		result := ssh(ctx, pod.Host(), "'id -un; cat note'")
		Expect(result.Stdout).To(Equal(environment.SSHUser+"\nkept in a pod\n"), result.Output)
		Eventually(func(g Gomega) {
			expectCertificate(g, kubectl(ctx, "logs", "-n", namespace, "deployment/bastion"), "pod")
		}).Should(Succeed())
	})

	It("reaches a server outside the cluster by its name and by its address", func(ctx context.Context) {
		for _, host := range []string{environment.OutsideHost, environment.OutsideAddress} {
			result := ssh(ctx, host, "'id -un; cat note'")
			Expect(result.Stdout).To(Equal(environment.SSHUser+"\nkept outside\n"), result.Output)
		}
		Eventually(func(g Gomega) { expectCertificate(g, outside.Log(), "outside") }).Should(Succeed())
	})

	It("is judged outside the cluster as in it", func(ctx context.Context) {
		result := ssh(ctx, environment.OutsideHost, "rm note; echo status $?")
		Expect(result.Output).To(And(ContainSubstring("denied"), ContainSubstring("ops"), ContainSubstring("status 126")))
		Expect(ssh(ctx, environment.OutsideHost, "ls").Stdout).To(Equal("note\n"))
	})

	It("makes a certificate of its own for each connection", func(ctx context.Context) {
		Eventually(func(g Gomega) {
			seen := map[uint64]bool{}
			all := certificates(g, outside.Log())
			for _, c := range all {
				seen[c.Serial] = true
			}
			g.Expect(len(seen)).To(BeNumerically(">=", 3))
			g.Expect(outside.Log()).To(ContainSubstring(fmt.Sprintf("serial %d", all[0].Serial)))
		}).Should(Succeed())
	})

	It("is let in nowhere where the server trusts another authority", func(ctx context.Context) {
		_, other, err := environment.NewSSHAuthority()
		Expect(err).NotTo(HaveOccurred())
		Expect(env.SSHSecret(ctx, namespace, "people", other, append(pod.KnownHosts, outside.KnownHosts...))).To(Succeed())
		Eventually(func(g Gomega) {
			result := ssh(ctx, environment.OutsideHost, "cat note")
			g.Expect(result.Code).NotTo(BeZero())
			g.Expect(result.Output).To(ContainSubstring("outside"), "the target is named")
			g.Expect(result.Stdout).NotTo(ContainSubstring("kept"))
		}).Should(Succeed())
	})
})
