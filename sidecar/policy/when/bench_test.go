package when

import (
	"strings"
	"testing"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/policy/cel"
)

// BenchmarkEval compares an evaluation by the program with one in the same process.
func BenchmarkEval(b *testing.B) {
	const when = `command.tables.exists(t, t.endsWith("customers"))`
	small := selectFrom("orders", "items")
	small.Text = "SELECT o.id, i.name FROM orders o JOIN items i ON i.order_id = o.id WHERE o.id = $1"
	large := small
	large.Text = strings.Repeat("x", 1<<20)
	e := evaluator(b, program(b))
	for name, compile := range map[string]func(policy.Protocol, string) (policy.Condition, error){"program": e.Compile, "process": cel.Compile} {
		c, err := compile(policy.ProtocolPostgres, when)
		if err != nil {
			b.Fatal(err)
		}
		for size, cmd := range map[string]policy.Command{"small": small, "1MiB": large} {
			b.Run(name+"/"+size, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if matched, err := c.Eval(cmd); err != nil || matched {
						b.Fatal(matched, err)
					}
				}
			})
		}
	}
}
