package e2e

import (
	"context"
	"fmt"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/chaperone-dev/chaperone/test/environment"
)

func newAuthority() (ca, certificate, key []byte, err error) {
	return environment.ServerCertificate(database.Host())
}

// killSidecar ends the sidecar's process as a crash would; the kubelet starts it again.
func killSidecar(ctx context.Context, namespace, pod string) {
	GinkgoHelper()
	uid := kubectl(ctx, "get", "pod", pod, "-n", namespace, "-o", "jsonpath={.spec.initContainers[1].securityContext.runAsUser}")
	Expect(uid).To(MatchRegexp(`^\d+$`))
	_, err := env.Run(ctx, "", "pkill", "-KILL", "-u", uid, "-x", "sidecar")
	Expect(err).NotTo(HaveOccurred())
}

var _ = Describe("An adversary in the agent's container", Ordered, func() {
	// database4 is the database's pod, service4 its Service: the name that the policy has leads to the latter.
	var namespace, database4, service4 string

	BeforeAll(func(ctx context.Context) {
		namespace = newNamespace(ctx)
		startAgent(ctx, namespace, policy(namespace, "db"))
		database4 = kubectl(ctx, "get", "pod", "-n", "e2e-database", "-l", "app=db", "-o", "jsonpath={.items[0].status.podIP}")
		Expect(database4).NotTo(BeEmpty())
		service4 = kubectl(ctx, "get", "service", "-n", "e2e-database", "db", "-o", "jsonpath={.spec.clusterIP}")
		Expect(service4).NotTo(BeEmpty())
	})

	// refusedProbe runs a command that prints REACHED only if it got through.
	refusedProbe := func(ctx context.Context, command string) {
		GinkgoHelper()
		result := inAgent(ctx, namespace, command)
		Expect(result.Output).NotTo(ContainSubstring("REACHED"), result.Output)
	}

	It("is judged at the target's address as at its name, and refused where no target is", func(ctx context.Context) {
		at := func(address, statement string) string {
			return inAgent(ctx, namespace, fmt.Sprintf(`psql -XAt "host=%s dbname=app user=agent sslmode=disable connect_timeout=10" -c "%s"`, address, statement)).Output
		}
		Expect(at(service4, "SELECT name FROM customers WHERE id = 1")).To(Equal("Ada\n"))
		Expect(at(service4, "DROP TABLE notes")).To(ContainSubstring("schema changes go through migrations"))
		Expect(at(database4, "SELECT name FROM customers WHERE id = 1")).To(And(ContainSubstring("error"), Not(ContainSubstring("Ada"))))
	})

	It("cannot reach other TCP ports, other hosts, or the metadata address", func(ctx context.Context) {
		for _, target := range []string{database4 + "/5433", "169.254.169.254/80", "192.0.2.1/443"} {
			refusedProbe(ctx, fmt.Sprintf(`timeout 5 bash -c 'exec 3<>/dev/tcp/%s && printf "GET / HTTP/1.0\r\n\r\n" >&3 && head -c1 <&3 | grep -q . && echo REACHED'`, target))
		}
	})

	It("cannot dial the sidecar's listener directly", func(ctx context.Context) {
		refusedProbe(ctx, `timeout 5 bash -c 'exec 3<>/dev/tcp/127.0.0.1/15001 && printf "\0\0\0\10\4\322\26\57" >&3 && head -c1 <&3 | grep -q . && echo REACHED'`)
	})

	It("cannot send UDP, nor ask another resolver", func(ctx context.Context) {
		refusedProbe(ctx, `python3 -c '
import socket
s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); s.settimeout(3)
try:
    s.sendto(b"x",("`+database4+`",9999)); print("REACHED")
except OSError as e: print("refused",e)'`)
	})

	It("has no capability to become our user or to change the rules", func(ctx context.Context) {
		uid := kubectl(ctx, "get", "pod", "agent", "-n", namespace, "-o", "jsonpath={.spec.initContainers[1].securityContext.runAsUser}")
		refusedProbe(ctx, `python3 -c 'import os
try:
    os.setuid(`+uid+`); print("REACHED")
except OSError as e: print("refused",e)'`)
		refusedProbe(ctx, `python3 -c 'import socket
try:
    socket.socket(socket.AF_INET,socket.SOCK_RAW,1); print("REACHED")
except OSError as e: print("refused",e)'`)
		refusedProbe(ctx, `python3 -c 'import socket
s=socket.socket()
try:
    s.setsockopt(socket.SOL_SOCKET,36,1); print("REACHED")
except OSError as e: print("refused",e)'`)
		refusedProbe(ctx, `ip link set lo down && echo REACHED`)
	})

	It("finds no working credential in the pod", func(ctx context.Context) {
		Expect(inAgent(ctx, namespace, `env; cat /var/run/secrets/kubernetes.io/serviceaccount/* 2>/dev/null; ls -R /var/lib/chaperone /var/run/chaperone 2>&1`).Output).
			To(And(Not(ContainSubstring("only-the-sidecar-knows")), Not(MatchRegexp(`eyJ[A-Za-z0-9_-]{20,}`)), Not(ContainSubstring("PRIVATE KEY"))))
	})

	It("cannot send the password to its own server by editing /etc/hosts and resolv.conf", func(ctx context.Context) {
		edit := inAgent(ctx, namespace, `echo "127.0.0.1 `+database.Host()+`" >> /etc/hosts && echo "nameserver 127.0.0.9" > /etc/resolv.conf && cat /etc/hosts /etc/resolv.conf`)
		Expect(edit.Output).To(And(ContainSubstring("127.0.0.1 "+database.Host()), ContainSubstring("nameserver 127.0.0.9")))
		Expect(psqlWith(ctx, namespace, "hostaddr="+service4, "SELECT name FROM customers WHERE id = 1").Output).To(Equal("Ada\n"))
	})
})

var _ = Describe("A tenant with edit", Ordered, func() {
	var namespace string

	BeforeAll(func(ctx context.Context) {
		namespace = newNamespace(ctx)
		startAgent(ctx, namespace, policy(namespace, "db"))
	})

	DescribeTable("is refused", func(ctx context.Context, reason string, args ...string) {
		result, err := env.Kubectl(ctx, append([]string{"-n", namespace}, args...)...)
		Expect(err).To(HaveOccurred(), result.Output)
		Expect(result.Output).To(MatchRegexp(reason))
	},
		Entry("exec into the sidecar", `chaperone`, "exec", "agent", "-c", "chaperone", "--", "/sidecar", "version"),
		Entry("another image for the sidecar", `chaperone`, "patch", "pod", "agent", "-p", `{"spec":{"initContainers":[{"name":"chaperone","image":"localhost/chaperone/toolbox:dev"}]}}`),
		Entry("debugging into the sidecar", `chaperone`, "debug", "agent", "--image=localhost/chaperone/toolbox:dev", "--target=chaperone", "--attach=false", "--", "sleep", "1"),
		Entry("other bound labels", `chaperone`, "annotate", "pod", "agent", "chaperone.dev/bound-labels={}", "--overwrite"),
		Entry("a token for the broker", `(?i)broker\.chaperone\.dev|audience`, "create", "token", "default", "--audience=broker.chaperone.dev"),
	)

	DescribeTable("cannot create a pod", func(ctx context.Context, change, reason string) {
		_, err := env.Apply(ctx, agentPod(namespace, "bad", change))
		Expect(err).To(MatchError(MatchRegexp(reason)))
	},
		Entry("in the host's network", "  hostNetwork: true", "hostNetwork"),
		Entry("in the host's process namespace", "  hostPID: true", "hostPID"),
		Entry("with a shared process namespace", "  shareProcessNamespace: true", "shareProcessNamespace"),
		Entry("that is privileged", "    securityContext: {privileged: true}", "privileged"),
		Entry("with NET_ADMIN", "    securityContext: {capabilities: {add: [NET_ADMIN]}}", "NET_ADMIN"),
		Entry("with a hostPath", "  volumes: [{name: h, hostPath: {path: /}}]", "hostPath"),
		Entry("with a token of its own", "  volumes: [{name: t, projected: {sources: [{serviceAccountToken: {path: t}}]}}]", "service account token"),
		Entry("with the database's Secret", "    envFrom: [{secretRef: {name: db}}]", "db"),
	)
})
