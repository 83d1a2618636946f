package decision

import (
	"context"
	"fmt"
	"net/http"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
	"github.com/chaperone-dev/chaperone/controllers/naming"
	"github.com/chaperone-dev/chaperone/webhook/access"
)

// +kubebuilder:webhook:mutating=false,name=authority.approvalrequests.chaperone.dev,path=/validate-approvalrequests,failurePolicy=fail,sideEffects=None,timeoutSeconds=10,groups=chaperone.dev,versions=v1alpha1,resources=approvalrequests;approvalrequests/status,verbs=create;update,admissionReviewVersions=v1,serviceName=chaperone-webhook,serviceNamespace=chaperone-system
// +kubebuilder:webhook:mutating=false,name=deletion.approvalrequests.chaperone.dev,path=/validate-approvalrequests,failurePolicy=ignore,sideEffects=None,timeoutSeconds=5,groups=chaperone.dev,versions=v1alpha1,resources=approvalrequests,verbs=delete,admissionReviewVersions=v1,serviceName=chaperone-webhook,serviceNamespace=chaperone-system

// Authority validates every write to an ApprovalRequest. Deletion is another entry that lets through while the
// operator is away, so that namespaces can be removed.
type Authority struct {
	// Operator is the operator's own user.
	Operator string
	// Key returns the key of the MACs.
	Key func() []byte
	// Now is the clock.
	Now func() time.Time
	// Access asks the API server what a user may do.
	Access  access.Reviewer
	Decoder admission.Decoder
}

var _ admission.Handler = (*Authority)(nil)

// Handle answers one admission review.
func (a *Authority) Handle(ctx context.Context, req admission.Request) admission.Response {
	var request, old v1alpha1.ApprovalRequest
	if req.Operation != admissionv1.Delete {
		if err := a.Decoder.Decode(req, &request); err != nil {
			return admission.Errored(http.StatusBadRequest, fmt.Errorf("reading the approval request: %w", err))
		}
	}
	if req.Operation != admissionv1.Create {
		if err := a.Decoder.DecodeRaw(req.OldObject, &old); err != nil {
			return admission.Errored(http.StatusBadRequest, fmt.Errorf("reading the approval request as it was: %w", err))
		}
	}
	var reason string
	var err error
	switch {
	case req.Operation == admissionv1.Create:
		reason = a.created(&request, req.UserInfo.Username)
	case req.Operation == admissionv1.Delete:
		reason = a.deleted(&old, req.UserInfo.Username)
	case req.SubResource == "status":
		reason = a.status(req.UserInfo.Username)
	default:
		reason, err = a.updated(ctx, &request, &old, req.UserInfo)
	}
	switch {
	case err != nil:
		return admission.Errored(http.StatusInternalServerError, err)
	case reason != "":
		return admission.Denied(fmt.Sprintf("approval request %s/%s: %s", req.Namespace, req.Name, reason))
	}
	return admission.Allowed("")
}

func (a *Authority) created(request *v1alpha1.ApprovalRequest, user string) string {
	switch {
	case user != a.Operator:
		return "only the chaperone operator files approval requests, when a command needs one"
	case request.Spec.Decision != nil || len(request.Spec.Decisions) > 0:
		return "spec.decision and spec.decisions are empty in a new request"
	}
	return ""
}

func (a *Authority) status(user string) string {
	if user != a.Operator {
		return "status is written by the chaperone operator alone; decide with spec.decision"
	}
	return ""
}

// deleted keeps a pending request from vanishing: that would be a denial that nobody signed, and the agent would
// file the same again. What is decided may go; a grant goes with it, which is the safe direction.
func (a *Authority) deleted(old *v1alpha1.ApprovalRequest, user string) string {
	if user == a.Operator || access.Controller(user) {
		return ""
	}
	if a.pending(old) {
		return "it is pending; deny it instead: " + naming.Decide(old.Namespace, old.Name, string(v1alpha1.VerdictDeny))
	}
	return ""
}

func (a *Authority) updated(ctx context.Context, request, old *v1alpha1.ApprovalRequest, user authenticationv1.UserInfo) (string, error) {
	if reason := unchanged(request, old, user.Username == a.Operator || access.Controller(user.Username)); reason != "" {
		return reason, nil
	}
	entry, reason := a.appended(request, old)
	if reason != "" || entry == nil {
		return reason, nil
	}
	if reason := a.entry(request, old, *entry, user); reason != "" {
		return reason, nil
	}
	policy := old.Spec.Policy.Name
	may, why, err := a.Access.May(ctx, user, access.Attributes{
		Verb: "approve", Group: v1alpha1.GroupVersion.Group, Resource: "agentpolicies", Namespace: old.Namespace, Name: policy,
	})
	switch {
	case err != nil:
		return "", err
	case !may:
		return fmt.Sprintf("user %s may not approve for agent policy %s/%s; it takes the RBAC verb approve on agentpolicies.%s %q%s",
			user.Username, old.Namespace, policy, v1alpha1.GroupVersion.Group, policy, why), nil
	}
	return "", nil
}
