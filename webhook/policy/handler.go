package policy

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	admissionv1 "k8s.io/api/admission/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
	"github.com/chaperone-dev/chaperone/controllers/snapshot"
	"github.com/chaperone-dev/chaperone/webhook/access"
)

// +kubebuilder:webhook:mutating=false,name=agentpolicies.chaperone.dev,path=/validate-agentpolicies,failurePolicy=fail,sideEffects=None,timeoutSeconds=10,groups=chaperone.dev,versions=v1alpha1,resources=agentpolicies,verbs=create;update,admissionReviewVersions=v1,serviceName=chaperone-webhook,serviceNamespace=chaperone-system,patch=`{"matchConditions":[{"name":"changes-the-spec","expression":"request.operation == 'CREATE' || object.spec != oldObject.spec"}]}`

// Handler validates AgentPolicies at their creation and whenever their spec changes. Metadata may change while the
// operator is away, so that finalizers never hold a namespace.
type Handler struct {
	Access access.Reviewer
	// Exempt namespaces are never selected.
	Exempt  func(namespace string) bool
	Decoder admission.Decoder
}

var _ admission.Handler = (*Handler)(nil)

// Handle answers one admission review.
func (h *Handler) Handle(ctx context.Context, req admission.Request) admission.Response {
	var policy v1alpha1.AgentPolicy
	if err := h.Decoder.Decode(req, &policy); err != nil {
		return admission.Errored(http.StatusBadRequest, fmt.Errorf("reading the agent policy: %w", err))
	}
	policy.Namespace = req.Namespace
	if req.Operation == admissionv1.Update {
		var old v1alpha1.AgentPolicy
		if err := h.Decoder.DecodeRaw(req.OldObject, &old); err != nil {
			return admission.Errored(http.StatusBadRequest, fmt.Errorf("reading the agent policy as it was: %w", err))
		}
		if apiequality.Semantic.DeepEqual(policy.Spec, old.Spec) {
			return admission.Allowed("")
		}
	}
	wrong, err := h.wrong(ctx, &policy, req.UserInfo)
	switch {
	case err != nil:
		return admission.Errored(http.StatusInternalServerError, err)
	case len(wrong) > 0:
		return admission.Denied(fmt.Sprintf("agent policy %s/%s: %s", req.Namespace, req.Name, strings.Join(wrong, "; ")))
	}
	return admission.Allowed("")
}

func (h *Handler) wrong(ctx context.Context, policy *v1alpha1.AgentPolicy, writer authenticationv1.UserInfo) ([]string, error) {
	if h.Exempt(policy.Namespace) {
		return []string{fmt.Sprintf("pods of namespace %s are never put behind a sidecar, because the cluster or the operator starts from them; move the policy to the agents' namespace", policy.Namespace)}, nil
	}
	out := mistakes(policy)
	known := len(out)
	if _, err := snapshot.Policy(policy, nil); err != nil {
		for _, mistake := range snapshot.List(err) {
			// What the compiler finds has no field of its own; it may be what was just said with one.
			if mistake.Field == "spec" && known > 0 {
				continue
			}
			out = append(out, mistake.Error())
		}
		if len(out) == 0 {
			out = append(out, err.Error())
		}
	}
	forbidden, err := h.forbidden(ctx, policy, writer)
	return append(out, forbidden...), err
}
