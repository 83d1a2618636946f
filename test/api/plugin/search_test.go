package plugin_test

import (
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/chaperone-dev/chaperone/sidecar/record"
)

// searchVariable says in how many recordings the measure searches: make measure-search.
const searchVariable = "CHAPERONE_SEARCH_RECORDINGS"

var _ = Describe("A search through many recordings", func() {
	It("finds one command in them, through the aggregated API", func(ctx SpecContext) {
		text := os.Getenv(searchVariable)
		if text == "" {
			Skip("make measure-search runs it")
		}
		recordings, err := strconv.Atoi(text)
		Expect(err).NotTo(HaveOccurred())
		ns := newNamespace(ctx)
		auditor := someone(ctx, ns, "sara", nil, "chaperone-auditor")
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "agent-0", UID: "5d0e"}}
		numbers := make(chan int)
		var workers sync.WaitGroup
		for range 8 {
			workers.Go(func() {
				defer GinkgoRecover()
				for n := range numbers {
					events := []record.Event{{Kind: record.KindConnect, Connection: 1, User: "billing"}}
					for c := range 50 {
						events = append(events, record.Event{
							Time: float64(c), Kind: record.KindCommand, Connection: 1, Command: uint64(c + 1), Verdict: "Allow", Rule: "reads",
							Text: fmt.Sprintf("SELECT name, plan FROM customers WHERE id = %d AND region = 'eu-%d'", n*50+c, c),
						})
					}
					if n == recordings/2 {
						events[25].Text = "SELECT * FROM payroll"
					}
					recorded(ctx, ns, fmt.Sprintf("agent-0-billing-%05d", n), false, pod, append(events, record.Event{Time: 60, Kind: record.KindEnd})...)
				}
			})
		}
		for n := range recordings {
			numbers <- n
		}
		close(numbers)
		workers.Wait()
		for _, parallel := range []string{"1", "8", "32", "1", "8", "32"} {
			begin := time.Now()
			out := auditor.succeeds(ctx, "recordings", "-n", ns, "--command", "payroll", "--parallel", parallel)
			AddReportEntry(fmt.Sprintf("%d recordings of 50 commands, %s at once", recordings, parallel), time.Since(begin).Round(10*time.Millisecond).String())
			Expect(out).To(ContainSubstring("SELECT * FROM payroll"))
		}
	}, SpecTimeout(30*time.Minute))
})
