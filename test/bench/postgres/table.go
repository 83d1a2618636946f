package main

import (
	"fmt"
	"strings"
	"time"
)

// table is the results as Markdown: a line for each case, under a heading that says where they were taken.
func table(results []result, second, heading string) string {
	var b strings.Builder
	b.WriteString(heading + "\n")
	columns := []string{
		"case", "direct, per second", "pgbouncer / direct", "sidecar / direct", "**sidecar / pgbouncer**",
		"p50 added, µs: pgbouncer, sidecar", "p99 added, µs: pgbouncer, sidecar", "proxy CPU per query, µs: pgbouncer, sidecar",
		"peak RSS, MiB: pgbouncer, sidecar",
	}
	if second != "" {
		columns = append(columns, second+" / direct", "sidecar / "+second)
	}
	b.WriteString("| " + strings.Join(columns, " | ") + " |\n|---" + strings.Repeat("|---:", len(columns)-1) + "|\n")
	for i := range results {
		b.WriteString("| " + strings.Join(results[i].cells(second), " | ") + " |\n")
	}
	return b.String()
}

// line is one result for who waits.
func (r *result) line(second string) string { return strings.Join(r.cells(second), "  ") }

func (r *result) cells(second string) []string {
	pair := func(value func(peer string) float64, format string) string {
		return fmt.Sprintf(format+", "+format, value("pgbouncer"), value("sidecar"))
	}
	p50 := func(s sample) time.Duration { return s.p50 }
	p99 := func(s sample) time.Duration { return s.p99 }
	out := []string{
		r.of.name(),
		fmt.Sprintf("%.4g", r.median("direct", func(s sample) float64 { return s.perSecond })),
		fmt.Sprintf("%.2f", r.ratio("pgbouncer", "direct")),
		fmt.Sprintf("%.2f", r.ratio("sidecar", "direct")),
		fmt.Sprintf("**%.2f**", r.ratio("sidecar", "pgbouncer")),
		pair(func(p string) float64 { return r.added(p, p50) }, "%.0f"),
		pair(func(p string) float64 { return r.added(p, p99) }, "%.0f"),
		pair(func(p string) float64 {
			return r.median(p, func(s sample) float64 { return float64(s.processor.Nanoseconds()) / 1e3 })
		}, "%.1f"),
		pair(func(p string) float64 {
			return r.median(p, func(s sample) float64 { return float64(s.resident) / (1 << 20) })
		}, "%.1f"),
	}
	if second != "" {
		out = append(out, fmt.Sprintf("%.2f", r.ratio(second, "direct")), fmt.Sprintf("%.2f", r.ratio("sidecar", second)))
	}
	return out
}
