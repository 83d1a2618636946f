package decision

import (
	"fmt"
	"slices"
	"strings"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
)

// Prefixes of user names that are never people.
const (
	serviceAccountPrefix = "system:serviceaccount:"
	nodePrefix           = "system:node:"
	anonymousUser        = "system:anonymous"
)

// Eligible returns "" if a user of these groups may decide the request as far as the request itself says, else
// the reason. RBAC is asked elsewhere.
func Eligible(approval v1alpha1.RequestedApproval, user string, groups []string) string {
	switch {
	case user == "" || user == anonymousUser:
		return "only an authenticated person may decide"
	case strings.HasPrefix(user, serviceAccountPrefix) || slices.Contains(groups, "system:serviceaccounts"):
		return fmt.Sprintf("%s is a service account; only people decide", user)
	case strings.HasPrefix(user, nodePrefix) || slices.Contains(groups, "system:nodes"):
		return fmt.Sprintf("%s is a node; only people decide", user)
	case slices.Contains(approval.ExcludeApprovers, user):
		return fmt.Sprintf("the policy's excludeApprovers names %s", user)
	}
	if len(approval.Groups) == 0 {
		return ""
	}
	for _, group := range groups {
		if slices.Contains(approval.Groups, group) {
			return ""
		}
	}
	return fmt.Sprintf("the rule asks for a member of %s, and %s is in none of these groups",
		strings.Join(approval.Groups, ", "), user)
}
