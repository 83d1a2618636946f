// Package access asks the API server what a user may do, in that user's name.
package access

import (
	"context"
	"fmt"
	"strings"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Attributes are what somebody wants to do.
type Attributes struct {
	Verb     string
	Group    string
	Resource string
	// Subresource is empty for the object itself.
	Subresource string
	Namespace   string
	Name        string
}

// +kubebuilder:rbac:groups=authorization.k8s.io,resources=subjectaccessreviews,verbs=create

// Reviewer asks with SubjectAccessReviews, so that whatever authorizers the cluster has decide.
type Reviewer struct{ Client client.Client }

// May reports whether the user may. why is what the authorizer had to say about a refusal, with a leading colon, or
// "".
func (r Reviewer) May(ctx context.Context, user authenticationv1.UserInfo, a Attributes) (may bool, why string, err error) {
	review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User:   user.Username,
		UID:    user.UID,
		Groups: user.Groups,
		Extra:  map[string]authorizationv1.ExtraValue{},
		ResourceAttributes: &authorizationv1.ResourceAttributes{
			Verb: a.Verb, Group: a.Group, Version: "*", Resource: a.Resource, Subresource: a.Subresource,
			Namespace: a.Namespace, Name: a.Name,
		},
	}}
	for key, values := range user.Extra {
		review.Spec.Extra[key] = authorizationv1.ExtraValue(values)
	}
	if err := r.Client.Create(ctx, review); err != nil {
		return false, "", fmt.Errorf("asking whether %s may %s %s %s/%s: %w", user.Username, a.Verb, a.Resource, a.Namespace, a.Name, err)
	}
	if review.Status.Allowed && !review.Status.Denied {
		return true, "", nil
	}
	if review.Status.Reason != "" {
		why = ": " + review.Status.Reason
	}
	return false, why, nil
}

// Controller reports whether the user is one of the controllers that remove objects with their owner or namespace.
func Controller(user string) bool {
	switch strings.TrimPrefix(user, "system:serviceaccount:kube-system:") {
	case "namespace-controller", "generic-garbage-collector":
		return strings.HasPrefix(user, "system:serviceaccount:kube-system:")
	}
	// Where the controller manager runs its controllers under its own certificate
	// (--use-service-account-credentials=false).
	return user == "system:kube-controller-manager"
}
