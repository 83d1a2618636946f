package program

import (
	"context"
	"io"
	"testing"
	"time"
)

func FuzzRunEndsAndHandsOverWords(f *testing.F) {
	for _, text := range []string{
		`X=rm; $X -rf /`, `for i in a b; do say $i | cat; done`, "cat <<E\n$x\nE", `f() { f; }; f`, `echo {1..9}`, `A=1 ls; export A; ls`,
		`x=${y:-$(say a)}; case $x in a) ls;; esac`, `while read l; do echo "$l"; done`, `echo $((PPID + 2**63))`, `a[3]=1; echo ${a[3]}`,
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		_, _ = Run(ctx, text, Options{Stdout: io.Discard, Stderr: io.Discard, Exec: func(_ context.Context, c Command) (uint8, error) {
			if len(c.Argv) == 0 || c.Stdin == nil || c.Stdout == nil || c.Stderr == nil {
				t.Errorf("%q comes to %q, not wholly connected", text, c.Argv)
			}
			return 0, nil
		}})
		if ctx.Err() != nil {
			t.Errorf("%q did not end", text)
		}
	})
}
