// Command program runs the sidecar that `make bench-postgres` measures.
package main

import (
	"fmt"
	"os"

	"github.com/chaperone-dev/chaperone/test/bench/postgres/sidecar"
)

func main() {
	if err := sidecar.Serve(); err != nil {
		fmt.Fprintln(os.Stderr, "sidecar:", err)
		os.Exit(1)
	}
}
