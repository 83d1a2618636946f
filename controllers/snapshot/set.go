package snapshot

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
)

// Set puts the policies bound to one pod together. The version is a digest over all of it followed by each policy's
// generation, so that any replica of the operator can say which generations a sidecar holds from the version that
// the sidecar echoes.
func Set(policies []policy.Policy, maxAge time.Duration) (policy.Set, error) {
	set := policy.Set{Policies: policies, MaxAgeSeconds: int64(maxAge / time.Second)}
	sort.Slice(set.Policies, func(i, j int) bool {
		a, b := set.Policies[i], set.Policies[j]
		return a.Namespace < b.Namespace || a.Namespace == b.Namespace && a.Name < b.Name
	})
	text, err := json.Marshal(set)
	if err != nil {
		return policy.Set{}, fmt.Errorf("encoding a policy set: %w", err)
	}
	sum := sha256.Sum256(text)
	var version strings.Builder
	version.WriteString(hex.EncodeToString(sum[:8]))
	for _, p := range set.Policies {
		fmt.Fprintf(&version, ";%s=%d", p.Name, p.Generation)
	}
	set.Version = version.String()
	return set, nil
}

// Generations reads a version that a sidecar echoed: policy name to generation. A sidecar may send anything, so
// what is not of that form is left out.
func Generations(version string) map[string]int64 {
	out := make(map[string]int64)
	_, rest, _ := strings.Cut(version, ";")
	for part := range strings.SplitSeq(rest, ";") {
		name, generation, _ := strings.Cut(part, "=")
		if n, err := strconv.ParseInt(generation, 10, 64); err == nil && name != "" && n > 0 {
			out[name] = n
		}
	}
	return out
}
