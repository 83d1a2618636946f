package policy

import (
	"context"
	"fmt"

	authenticationv1 "k8s.io/api/authentication/v1"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
	"github.com/chaperone-dev/chaperone/controllers/snapshot"
	"github.com/chaperone-dev/chaperone/webhook/access"
)

// resources are the API's names for what a policy may point to.
var resources = map[string]string{
	snapshot.KindSecret:    "secrets",
	snapshot.KindConfigMap: "configmaps",
}

// forbidden returns the references that the writer may not read. Otherwise a policy would be a way to have somebody
// else's password sent to one's own host: whoever changes the spec answers for all of it, the references that an
// earlier writer put there included, because a changed host is enough. The object itself need not exist yet.
func (h *Handler) forbidden(ctx context.Context, policy *v1alpha1.AgentPolicy, writer authenticationv1.UserInfo) ([]string, error) {
	var out []string
	asked := map[access.Attributes]string{}
	for _, ref := range snapshot.References(policy) {
		a := access.Attributes{Verb: "get", Resource: resources[ref.Kind], Namespace: policy.Namespace, Name: ref.Name}
		answer, ok := asked[a]
		if !ok {
			may, why, err := h.Access.May(ctx, writer, a)
			if err != nil {
				return nil, err
			}
			if !may {
				answer = fmt.Sprintf("user %s may not get %s %s/%s, and a policy must not reach further than its writer%s; have it applied by someone who may, or ask for that permission",
					writer.Username, a.Resource, a.Namespace, a.Name, why)
			}
			asked[a] = answer
		}
		if answer != "" {
			out = append(out, fmt.Sprintf("%s: %s", ref.Field, answer))
		}
	}
	return out, nil
}
