package plugin_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/chaperone-dev/chaperone/controllers/certs"
	"github.com/chaperone-dev/chaperone/sidecar/record"
)

// published is the set of keys as anybody reads it.
func published(ctx context.Context, p *person) (string, []record.Key) {
	GinkgoHelper()
	a := p.kubectl(ctx, "get", "--raw", "/apis/logs.chaperone.dev/v1alpha1/signingkeys")
	Expect(a.code).To(BeZero(), a.err)
	set, err := record.ParseKeys([]byte(a.out))
	Expect(err).NotTo(HaveOccurred())
	return a.out, set
}

// keysSecret changes the keys' Secret as an administrator does, and lets the operator read it.
func keysSecret(ctx context.Context, change func(*corev1.Secret)) {
	GinkgoHelper()
	secret := &corev1.Secret{}
	Expect(admin.Get(ctx, keys.Secret, secret)).To(Succeed())
	before := client.MergeFrom(secret.DeepCopy())
	change(secret)
	Expect(admin.Patch(ctx, secret, before)).To(Succeed())
	passes(ctx, time.Minute)
}

// passes lets time go by for the operator's keys, and waits until the Secret was read.
func passes(ctx context.Context, d time.Duration) {
	GinkgoHelper()
	Eventually(clock.HasWaiters).WithContext(ctx).WithTimeout(30 * time.Second).Should(BeTrue())
	clock.Step(d)
	Eventually(func(g Gomega) {
		secret := &corev1.Secret{}
		g.Expect(admin.Get(ctx, keys.Secret, secret)).To(Succeed())
		g.Expect(secret.Annotations).NotTo(Or(HaveKey(certs.AnnotationRotate), HaveKey(certs.AnnotationRevoke)))
	}).WithContext(ctx).WithTimeout(30 * time.Second).Should(Succeed())
}

var _ = Describe("the keys that sign recordings", func() {
	command := func(text string) record.Event {
		return record.Event{Time: 1, Kind: record.KindCommand, Connection: 1, Text: text, Verdict: "Allow"}
	}
	end := record.Event{Time: 2, Kind: record.KindEnd}

	It("rotate while something is recorded, and say so when one counts no more", func(ctx SpecContext) {
		ns := newNamespace(ctx)
		auditor := someone(ctx, ns, "augusta", nil, "chaperone-auditor")
		nobody := someone(ctx, ns, "nemo", nil)
		annotated := func(key, value string) func(*corev1.Secret) {
			return func(s *corev1.Secret) { s.Annotations = map[string]string{key: value} }
		}
		// A replica that has read the Secret now and does not do so again by itself.
		late := &certs.Keys{Client: operator, Secret: keys.Secret, Clock: clock, Log: ctrl.Log}
		Expect(late.Load(ctx)).To(Succeed())

		By("recording one log before, and another across the rotation")
		before, across := begun(ctx, ns, "before"), begun(ctx, ns, "across")
		Expect(before.Append(ctx, chunkOf(before, record.Counts{Commands: 1}, command("SELECT 1"), end))).To(Succeed())
		Expect(before.Sign(ctx, record.Complete)).To(Succeed())
		Expect(across.Append(ctx, chunkOf(across, record.Counts{Commands: 1}, command("SELECT 2")))).To(Succeed())
		Expect(across.Sign(ctx, record.Recording)).To(Succeed())
		kept := filepath.Join(GinkgoT().TempDir(), "kept.log")
		auditor.succeeds(ctx, "export", "before", "-n", ns, "-o", kept)

		_, set := published(ctx, nobody)
		had, first := len(set), set[len(set)-1].ID
		keysSecret(ctx, annotated(certs.AnnotationRotate, "now"))
		Eventually(func() int { _, set = published(ctx, nobody); return len(set) }).WithTimeout(30 * time.Second).Should(Equal(had + 1))
		second := set[had].ID
		Expect(set[had].From).To(BeTemporally("~", clock.Now().Add(10*time.Minute), time.Second))
		Expect(keys.Sign(record.Head{}).KeyID).To(Equal(first), "it is announced and does not sign yet")
		passes(ctx, 10*time.Minute)
		Expect(keys.Sign(record.Head{}).KeyID).To(Equal(second))

		Expect(across.Append(ctx, chunkOf(across, record.Counts{Commands: 2}, command("SELECT 3"), end))).To(Succeed())
		Expect(across.Sign(ctx, record.Complete)).To(Succeed())
		Expect(auditor.succeeds(ctx, "verify", "before", "-n", ns)).To(ContainSubstring("(key " + first + ", until "))
		Expect(auditor.succeeds(ctx, "verify", "across", "-n", ns)).To(MatchRegexp(`chunks 0 to 1, .* is complete\. Signed by the operator on .* \(key ` + second + `\)`))
		text, _ := published(ctx, nobody)
		file := filepath.Join(GinkgoT().TempDir(), "keys.json")
		Expect(os.WriteFile(file, []byte(text), 0o600)).To(Succeed())
		nowhere := &person{kubeconfig: "/nowhere"}
		Expect(nowhere.succeeds(ctx, "verify", "--file", kept, "--key", file)).To(ContainSubstring("(key " + first))
		Expect(nowhere.fails(ctx, "verify", "--file", kept)).To(ContainSubstring("--key FILE names a file of the operator's keys instead"))

		By("meeting the new key as a replica that has not read of it")
		Expect(late.Sign(record.Head{}).KeyID).To(Equal(first))
		Expect(late.Trusted(ctx, second)).To(ContainElement(HaveField("ID", second)))
		Expect(late.Sign(record.Head{}).KeyID).To(Equal(second))

		By("taking the first key out of the set, and putting it back, as other specs' logs were signed with it")
		var whole []byte
		keysSecret(ctx, func(s *corev1.Secret) {
			whole = s.Data["recording-keys"]
			var all []record.Key
			Expect(json.Unmarshal(whole, &all)).To(Succeed())
			rest, err := json.Marshal(slices.DeleteFunc(all, func(k record.Key) bool { return k.ID == first }))
			Expect(err).NotTo(HaveOccurred())
			s.Data["recording-keys"] = rest
		})
		Eventually(func() string { return auditor.chaperone(ctx, "verify", "before", "-n", ns).out }).WithTimeout(30 * time.Second).
			Should(ContainSubstring("signed with a key that is not trusted: key " + first + " is not, or no longer, in the set of"))
		Expect(auditor.succeeds(ctx, "verify", "across", "-n", ns)).To(ContainSubstring("is complete. Signed"))
		Expect(auditor.kubectl(ctx, "get", "--raw", "/apis/logs.chaperone.dev/v1alpha1/namespaces/"+ns+"/sessionrecordings/before/log").out).
			To(ContainSubstring("key " + first + " is not, or no longer, in the set"))
		keysSecret(ctx, func(s *corev1.Secret) { s.Data["recording-keys"] = whole })
		Eventually(func() string { return auditor.chaperone(ctx, "verify", "before", "-n", ns).out }).WithTimeout(30 * time.Second).Should(ContainSubstring("is complete. Signed"))

		By("revoking the second key")
		keysSecret(ctx, annotated(certs.AnnotationRevoke, second))
		Expect(auditor.chaperone(ctx, "verify", "across", "-n", ns).out).To(ContainSubstring("signed with a key that was revoked: key " + second))
		signer := func() string { return keys.Sign(record.Head{}).KeyID }
		Eventually(signer).WithTimeout(30*time.Second).ShouldNot(BeElementOf(first, second), "the next one signs at once")
		third := signer()
		after := begun(ctx, ns, "after")
		Expect(after.Append(ctx, chunkOf(after, record.Counts{}, end))).To(Succeed())
		Expect(after.Sign(ctx, record.Complete)).To(Succeed())
		Expect(auditor.succeeds(ctx, "verify", "after", "-n", ns)).To(ContainSubstring("(key " + third + ")"))
	}, SpecTimeout(3*time.Minute))
})
