package script_test

import (
	"testing"

	"github.com/chaperone-dev/chaperone/sidecar/script"
	"github.com/chaperone-dev/chaperone/test/scriptprogram"
)

// BenchmarkScript is a script without a command: the program's start and end.
func BenchmarkScript(b *testing.B) {
	i := script.New(scriptprogram.Build(b))
	for b.Loop() {
		if got := interpret(b.Context(), b, i, `x=1; : "$x"`, ""); got.err != nil {
			b.Fatal(got.err)
		}
	}
}

// BenchmarkPipe is 16 MiB that go through a script's pipe.
func BenchmarkPipe(b *testing.B) {
	i := script.New(scriptprogram.Build(b))
	b.SetBytes(16 << 20)
	for b.Loop() {
		if got := interpret(b.Context(), b, i, `head -c 16777216 /dev/zero | wc -c`, ""); got.stdout != "16777216\n" {
			b.Fatal(got)
		}
	}
}
