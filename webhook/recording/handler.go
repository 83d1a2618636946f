// Package recording lets the operator alone write SessionRecordings, and those with the RBAC verb hold place and lift
// a legal hold.
package recording

import (
	"context"
	"fmt"
	"net/http"

	admissionv1 "k8s.io/api/admission/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
	"github.com/chaperone-dev/chaperone/webhook/access"
)

// +kubebuilder:webhook:mutating=false,name=authority.sessionrecordings.chaperone.dev,path=/validate-sessionrecordings,failurePolicy=fail,sideEffects=None,timeoutSeconds=10,groups=chaperone.dev,versions=v1alpha1,resources=sessionrecordings;sessionrecordings/status,verbs=create;update,admissionReviewVersions=v1,serviceName=chaperone-webhook,serviceNamespace=chaperone-system
// +kubebuilder:webhook:mutating=false,name=deletion.sessionrecordings.chaperone.dev,path=/validate-sessionrecordings,failurePolicy=ignore,sideEffects=None,timeoutSeconds=5,groups=chaperone.dev,versions=v1alpha1,resources=sessionrecordings,verbs=delete,admissionReviewVersions=v1,serviceName=chaperone-webhook,serviceNamespace=chaperone-system

// Handler validates every write to a SessionRecording. The bytes are in the bucket and outlive the object, so deleting
// one that is not held needs no more than RBAC.
type Handler struct {
	// Operator is the operator's own user.
	Operator string
	Access   access.Reviewer
	Decoder  admission.Decoder
}

var _ admission.Handler = (*Handler)(nil)

// Handle answers one admission review.
func (h *Handler) Handle(ctx context.Context, req admission.Request) admission.Response {
	if req.UserInfo.Username == h.Operator {
		return admission.Allowed("")
	}
	reason, err := h.judge(ctx, req)
	switch {
	case err != nil:
		return admission.Errored(http.StatusInternalServerError, err)
	case reason != "":
		return admission.Denied(fmt.Sprintf("session recording %s/%s: %s", req.Namespace, req.Name, reason))
	}
	return admission.Allowed("")
}

func (h *Handler) judge(ctx context.Context, req admission.Request) (string, error) {
	var now, old v1alpha1.SessionRecording
	if req.Operation != admissionv1.Create {
		if err := h.Decoder.DecodeRaw(req.OldObject, &old); err != nil {
			return "", fmt.Errorf("reading the session recording as it was: %w", err)
		}
	}
	if req.Operation != admissionv1.Delete {
		if err := h.Decoder.Decode(req, &now); err != nil {
			return "", fmt.Errorf("reading the session recording: %w", err)
		}
	}
	switch {
	case req.Operation == admissionv1.Create:
		return "only the chaperone operator files recordings", nil
	case req.SubResource == "status":
		return "status is written by the chaperone operator alone", nil
	case req.Operation == admissionv1.Delete:
		if !old.Spec.LegalHold || access.Controller(req.UserInfo.Username) {
			return "", nil
		}
		return h.hold(ctx, &old, req.UserInfo, "is under legal hold; deleting it")
	}
	is, was := now.Spec.DeepCopy(), old.Spec.DeepCopy()
	is.LegalHold, was.LegalHold = false, false
	if !apiequality.Semantic.DeepEqual(is, was) {
		return "a recording cannot be changed; the only field to write is spec.legalHold", nil
	}
	if now.Spec.LegalHold == old.Spec.LegalHold {
		return "", nil
	}
	return h.hold(ctx, &old, req.UserInfo, "placing or lifting spec.legalHold")
}

func (h *Handler) hold(ctx context.Context, rec *v1alpha1.SessionRecording, user authenticationv1.UserInfo, doing string) (string, error) {
	may, why, err := h.Access.May(ctx, user, access.Attributes{
		Verb: "hold", Group: v1alpha1.GroupVersion.Group, Resource: "sessionrecordings", Namespace: rec.Namespace, Name: rec.Name,
	})
	if err != nil || may {
		return "", err
	}
	return fmt.Sprintf("%s takes the RBAC verb hold on sessionrecordings.%s, which user %s has not%s",
		doing, v1alpha1.GroupVersion.Group, user.Username, why), nil
}
