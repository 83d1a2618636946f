package mask

import (
	"fmt"
	"testing"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
)

// cleanRows are the fields of rows as a business has them, none of which matches.
func cleanRows() (fields [][]byte, frame []byte) {
	for i := range 200 {
		for _, f := range [...]string{
			fmt.Sprint(100000 + i), "Jane Doe", "12 Long Street, Springfield", "2024-03-01 12:13:14.151617",
			"a1b2c3d4-e5f6-4711-8222-676770001234", "pending", "1234.50",
			"The customer asked for a later delivery, between nine and eleven, and pays by invoice.",
		} {
			fields = append(fields, []byte(f))
			frame = append(frame, 0, 0, 0, byte(len(f)))
			frame = append(frame, f...)
		}
	}
	return fields, frame
}

func BenchmarkRewriteCleanFields(b *testing.B) {
	fields, _ := cleanRows()
	total := 0
	for _, f := range fields {
		total += len(f)
	}
	b.SetBytes(int64(total))
	b.ReportAllocs()
	d := All()
	for b.Loop() {
		for _, f := range fields {
			if _, hits := d.Rewrite(nil, f); hits > 0 {
				b.Fatalf("%s is no match", f)
			}
		}
	}
}

func BenchmarkMayCleanFrames(b *testing.B) {
	_, frame := cleanRows()
	b.SetBytes(int64(len(frame)))
	b.ReportAllocs()
	d := All()
	for b.Loop() {
		if d.May(frame) {
			b.Fatal("the rows may match")
		}
	}
}

func BenchmarkMayCardsAndAddresses(b *testing.B) {
	_, frame := cleanRows()
	b.SetBytes(int64(len(frame)))
	d := mustCompile(b, policy.MaskRedact, "CreditCard", "Email")
	for b.Loop() {
		if d.May(frame) {
			b.Fatal("the rows may match")
		}
	}
}

func BenchmarkRewriteMatch(b *testing.B) {
	src := []byte("Please charge 4111 1111 1111 1111 and write to alice@example.com.")
	b.SetBytes(int64(len(src)))
	b.ReportAllocs()
	dst := make([]byte, 0, 128)
	d := All()
	for b.Loop() {
		if _, hits := d.Rewrite(dst, src); hits != 2 {
			b.Fatal(hits)
		}
	}
}

func BenchmarkHashText(b *testing.B) {
	m := NewMasker(testKey)
	src := []byte("4111111111111111")
	dst := make([]byte, 0, 64)
	b.ReportAllocs()
	for b.Loop() {
		if _, null, err := m.Append(dst, policy.MaskHash, oidText, -1, formatText, src); null || err != nil {
			b.Fatal(err)
		}
	}
}

func TestNothingIsAllocatedWhileNothingMatches(t *testing.T) {
	fields, frame := cleanRows()
	d := All()
	if n := testing.AllocsPerRun(10, func() {
		for _, f := range fields {
			d.Rewrite(nil, f)
			d.Field(nil, oidText, formatText, f)
		}
		d.May(frame)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
