package plugin_test

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/chaperone-dev/chaperone/sidecar/record"
)

var _ = Describe("a long log in the aggregated API", func() {
	const chunks = 400
	// from reads the log from a chunk on: its chunks and how many the head says that there are.
	from := func(ctx context.Context, p *person, ns string, number int) ([]*record.Chunk, uint64) {
		GinkgoHelper()
		a := p.kubectl(ctx, "get", "--raw", fmt.Sprintf("/apis/logs.chaperone.dev/v1alpha1/namespaces/%s/sessionrecordings/long/log?format=log&from=%d", ns, number))
		Expect(a.code).To(BeZero(), a.err)
		r, err := record.NewReader(bytes.NewReader([]byte(a.out)))
		Expect(err).NotTo(HaveOccurred())
		var out []*record.Chunk
		for c, err := range r.Chunks() {
			Expect(err).NotTo(HaveOccurred())
			out = append(out, c)
		}
		Expect(r.Head()).NotTo(BeNil())
		return out, r.Head().Chunks
	}

	It("is read from the middle, beyond its end, and by those alone who may", func(ctx SpecContext) {
		ns, other := newNamespace(ctx), newNamespace(ctx)
		auditor := someone(ctx, ns, "lena", nil, "chaperone-auditor")
		viewer := someone(ctx, ns, "leo", nil, "chaperone-viewer")
		elsewhere := someone(ctx, other, "lars", nil, "chaperone-auditor")
		log := begun(ctx, ns, "long")
		for n := range chunks {
			Expect(log.Append(ctx, chunkOf(log, record.Counts{Commands: int64(n + 1)}, record.Event{
				Time: float64(n), Kind: record.KindCommand, Connection: 1, Command: uint64(n + 1), Verdict: "Allow",
				Text: fmt.Sprintf("SELECT %d -- %s", n, strings.Repeat("x", 2000)),
			}))).To(Succeed())
		}
		Expect(log.Sign(ctx, record.Recording)).To(Succeed())

		By("reading all, and the second half so that it follows from the first")
		whole, signed := from(ctx, auditor, ns, 0)
		Expect(whole).To(HaveLen(chunks))
		Expect(signed).To(BeEquivalentTo(chunks))
		rest, _ := from(ctx, auditor, ns, chunks/2)
		Expect(rest).To(HaveLen(chunks / 2))
		middle := whole[chunks/2-1]
		verifier := record.Resume(middle.Number+1, middle.Hash, middle.Counts)
		for _, c := range rest {
			Expect(verifier.Add(c)).To(Succeed())
		}
		Expect(verifier.Hash()).To(Equal(whole[chunks-1].Hash))

		By("following it: nothing beyond the end, and then what has come")
		none, signed := from(ctx, auditor, ns, chunks)
		Expect(none).To(BeEmpty())
		Expect(signed).To(BeEquivalentTo(chunks), "the head says where the end is")
		none, _ = from(ctx, auditor, ns, 90_000)
		Expect(none).To(BeEmpty())
		Expect(log.Append(ctx, chunkOf(log, record.Counts{Commands: chunks}, record.Event{Time: chunks, Kind: record.KindEnd}))).To(Succeed())
		Expect(log.Sign(ctx, record.Complete)).To(Succeed())
		last, signed := from(ctx, auditor, ns, chunks)
		Expect(last).To(HaveLen(1))
		Expect(signed).To(BeEquivalentTo(chunks + 1))
		Expect(verifier.Add(last[0])).To(Succeed())

		By("refusing what is no number, and whoever may not")
		path := "/apis/logs.chaperone.dev/v1alpha1/namespaces/" + ns + "/sessionrecordings/long/log?format=log&from="
		for _, text := range []string{"-1", "1.5", "first", "99999999999999999999"} {
			Expect(auditor.kubectl(ctx, "get", "--raw", path+text).err).To(ContainSubstring("not the number of a chunk"), text)
		}
		for _, p := range []*person{viewer, elsewhere} {
			a := p.kubectl(ctx, "get", "--raw", path+"200")
			Expect(a.code).NotTo(BeZero())
			Expect(a.out).To(BeEmpty())
			Expect(a.err).To(ContainSubstring("forbidden"))
		}
		Expect(auditor.kubectl(ctx, "get", "--raw", strings.ReplaceAll(path, ns, other)+"200").err).To(ContainSubstring("forbidden"))
	}, SpecTimeout(2*time.Minute))
})
