package e2e

import (
	"context"
	"fmt"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/chaperone-dev/chaperone/test/environment"
)

// sshPolicy is a policy with an SSH target.
func sshPolicy(namespace string, server *environment.SSHServer) string {
	return fmt.Sprintf(`apiVersion: chaperone.dev/v1alpha1
kind: AgentPolicy
metadata: {name: ops, namespace: %[1]s}
spec:
  podSelector: {matchLabels: {app: agent}}
  targets:
  - name: bastion
    hosts: [%[2]s]
    port: 22
    ssh:
      user: %[3]s
      shell: Interpret
      credentials: {secretRef: {name: bastion}}
      knownHosts: {configMapKeyRef: {name: bastion-hosts, key: known_hosts}}
      rules:
      - name: no-removal
        match: {programs: [rm]}
        action: Deny
        message: files are removed by the pipeline
      - name: changes
        match: {programs: [touch]}
        action: RequireApproval
        approval: {timeout: 60s, wait: 60s}
      - name: looking
        match: {programs: [cat, echo, id, ls]}
        action: Allow
      - name: vault
        match: {paths: ["/home/%[3]s/vault/**"]}
        action: Deny
        message: the vault stays closed
      - name: inbox
        match: {paths: ["/home/%[3]s/inbox/**"], operations: [read, write, list, stat, setstat]}
        action: Allow
      masking:
      - detectors: [Email]
---
`, namespace, server.Host(), environment.SSHUser)
}

var _ = Describe("An agent's SSH", Ordered, func() {
	var namespace string
	var server *environment.SSHServer
	ssh := func(ctx context.Context, command string) result {
		return inAgent(ctx, namespace, "ssh -o BatchMode=yes -o StrictHostKeyChecking=yes "+server.Host()+" "+command)
	}

	BeforeAll(func(ctx context.Context) {
		namespace = newNamespace(ctx)
		server = &environment.SSHServer{Namespace: namespace, Name: "bastion", Files: map[string]string{
			"contacts": "Ada: ada@lovelace.example\n", "inbox/old": "old\n", "vault/key": "opens-everything\n"}}
		Expect(server.Deploy(ctx, env)).To(Succeed())
		Expect(env.SSHCredentials(ctx, namespace, "bastion", server)).To(Succeed())
		startAgent(ctx, namespace, sshPolicy(namespace, server))
	})

	It("works with a key that the agent does not have, the host key checked strictly", func(ctx context.Context) {
		result := ssh(ctx, "id -un")
		Expect(result.Stdout).To(Equal(environment.SSHUser+"\n"), result.Output)
	})

	It("shows masked what commands print", func(ctx context.Context) {
		result := ssh(ctx, "cat contacts")
		Expect(result.Stdout).To(HavePrefix("Ada: "), result.Output)
		Expect(result.Output).NotTo(ContainSubstring("lovelace"))
	})

	It("is refused by rule, with the rule's words and status 126", func(ctx context.Context) {
		result := ssh(ctx, "'echo a; rm contacts'; echo status $?; "+"ssh -o BatchMode=yes "+server.Host()+" ls")
		Expect(result.Output).To(ContainSubstring("files are removed by the pipeline"))
		Expect(result.Output).To(ContainSubstring("no-removal"))
		Expect(result.Output).To(ContainSubstring("status 126"))
		Expect(result.Output).To(HaveSuffix("contacts\ninbox\nvault\n"))
	})

	It("judges the commands of a script as the words that are made of them", func(ctx context.Context) {
		result := ssh(ctx, `'for f in inbox/old contacts; do cat $f; done; X=rm; $X contacts; echo then $?; ls'`)
		Expect(result.Stdout).To(HavePrefix("old\nAda: "), result.Output)
		Expect(result.Stdout).To(HaveSuffix("then 126\ncontacts\ninbox\nvault\n"), result.Output)
		Expect(result.Output).To(ContainSubstring(`rule "no-removal"`))
		Expect(result.Output).NotTo(ContainSubstring("lovelace"))
	})

	It("is refused a terminal and a forwarding, which no rule names", func(ctx context.Context) {
		Expect(ssh(ctx, "-tt echo").Output).To(ContainSubstring("on a terminal is not allowed"))
		result := inAgent(ctx, namespace, "ssh -o BatchMode=yes -W 127.0.0.1:22 "+server.Host())
		Expect(result.Output).To(ContainSubstring("Local forwarding"))
	})

	It("waits for an approval, and runs once it is given", func(ctx context.Context) {
		done := make(chan result, 1)
		go func() { done <- ssh(ctx, "touch made") }()
		apply(ctx, approverRole(namespace))
		dana, err := env.NewUser(ctx, GinkgoT().TempDir(), "dana-"+namespace, "dba")
		Expect(err).NotTo(HaveOccurred())
		request := pendingRequest(ctx, namespace)
		_, err = dana.Kubectl(ctx, "patch", "apr", request, "-n", namespace, "--type=merge", "-p", `{"spec":{"decision":{"verdict":"Approve","reason":"fine"}}}`)
		Expect(err).NotTo(HaveOccurred())
		Eventually(done).Should(Receive(HaveField("Output", ContainSubstring("waiting for approval: request "+request))))
		Expect(ssh(ctx, "ls").Stdout).To(ContainSubstring("made"))
	})

	sftp := func(ctx context.Context, batch, then string) result {
		return inAgent(ctx, namespace, "printf -- '"+batch+"' | sftp -b - "+server.Host()+"; "+then)
	}

	It("carries files over sftp where the policy allows their paths", func(ctx context.Context) {
		result := sftp(ctx, `put /etc/hostname inbox/new\nget inbox/new /tmp/back\n`, "cat /tmp/back")
		hostname := inAgent(ctx, namespace, "cat /etc/hostname").Stdout
		Expect(result.Output).To(HaveSuffix(hostname))
		Expect(ssh(ctx, "cat inbox/new").Stdout).To(Equal(hostname))
	})

	It("refuses a file over sftp by the path that the server makes of its name, and goes on", func(ctx context.Context) {
		result := sftp(ctx, `-get inbox/../vault/key /tmp/key\nls inbox\n`, "cat /tmp/key")
		Expect(result.Output).To(ContainSubstring("the vault stays closed"))
		Expect(result.Output).To(ContainSubstring(`rule "vault"`))
		Expect(result.Output).To(ContainSubstring("inbox/old"))
		Expect(result.Output).To(MatchRegexp("/tmp/key.*No such file"))
		Expect(result.Output).NotTo(ContainSubstring("opens-everything"))
		Expect(sftp(ctx, `put /etc/hostname contacts\n`, "echo status $?").Output).To(ContainSubstring("status 1"), "no rule matches it")
		Expect(ssh(ctx, "cat contacts").Stdout).To(HavePrefix("Ada: "))
	})

	It("is recorded", func(ctx context.Context) {
		Eventually(func(g Gomega) {
			names := kubectl(ctx, "get", "rec", "-n", namespace, "-o", "jsonpath={.items[*].metadata.name}")
			var all strings.Builder
			for name := range strings.FieldsSeq(names) {
				all.WriteString(kubectl(ctx, "get", "--raw", "/apis/logs.chaperone.dev/v1alpha1/namespaces/"+namespace+"/sessionrecordings/"+name+"/log"))
			}
			g.Expect(all.String()).To(ContainSubstring("rm contacts"))
			g.Expect(all.String()).To(ContainSubstring("exit status 0"))
			g.Expect(all.String()).To(ContainSubstring("/home/deploy/inbox/new"))
			g.Expect(all.String()).To(ContainSubstring("/home/deploy/vault/key"))
			g.Expect(all.String()).NotTo(ContainSubstring("lovelace"))
		}).Should(Succeed())
	})
})
