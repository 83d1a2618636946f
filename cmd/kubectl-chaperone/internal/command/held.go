package command

import (
	"bufio"
	"encoding/json"
	"io"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
	"github.com/chaperone-dev/chaperone/controllers/snapshot"
)

// longestLogLine bounds a line of a sidecar's log.
const longestLogLine = 1 << 20

// heldByLog reads from a sidecar's log which generations it holds: it says so whenever it puts policies in force.
func heldByLog(log io.Reader) (held map[string]int64) {
	lines := bufio.NewScanner(log)
	lines.Buffer(nil, longestLogLine)
	for lines.Scan() {
		var line struct{ Msg, Version string }
		if json.Unmarshal(lines.Bytes(), &line) == nil && line.Msg == "Policies are in force" {
			held = snapshot.Generations(line.Version)
		}
	}
	return held
}

// heldByAll is the generation that every connected sidecar of a policy holds, where they all hold one.
func heldByAll(ap *v1alpha1.AgentPolicy) int64 {
	if len(ap.Status.Sidecars) == 1 && ap.Status.Sidecars[0].Count >= ap.Status.Pods.Protected {
		return ap.Status.Sidecars[0].Generation
	}
	return 0
}
