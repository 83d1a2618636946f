package decision

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
	decisions "github.com/chaperone-dev/chaperone/controllers/decision"
)

// +kubebuilder:webhook:mutating=true,name=stamp.approvalrequests.chaperone.dev,path=/mutate-approvalrequests,failurePolicy=fail,sideEffects=None,reinvocationPolicy=IfNeeded,timeoutSeconds=10,groups=chaperone.dev,versions=v1alpha1,resources=approvalrequests,verbs=update,admissionReviewVersions=v1,serviceName=chaperone-webhook,serviceNamespace=chaperone-system

// Stamper folds spec.decision into spec.decisions. It judges nothing and changes nothing else; shown its own result
// (any other mutating webhook makes the API server call it again) it finds no decision and leaves it alone.
type Stamper struct {
	// Key returns the key of the MAC.
	Key func() []byte
	// Now is the clock.
	Now     func() time.Time
	Decoder admission.Decoder
}

var _ admission.Handler = (*Stamper)(nil)

// Handle answers one admission review.
func (s *Stamper) Handle(_ context.Context, req admission.Request) admission.Response {
	if req.Operation != admissionv1.Update || req.SubResource != "" {
		return admission.Allowed("")
	}
	var request v1alpha1.ApprovalRequest
	if err := s.Decoder.Decode(req, &request); err != nil {
		return admission.Errored(http.StatusBadRequest, fmt.Errorf("reading the approval request: %w", err))
	}
	d := request.Spec.Decision
	if d == nil || d.Verdict != v1alpha1.VerdictApprove && d.Verdict != v1alpha1.VerdictDeny {
		// The schema refuses another verdict where the approver wrote it.
		return admission.Allowed("")
	}
	entry := Entry(*d, req.UserInfo, s.Now())
	if entry.MAC = decisions.Sign(s.Key(), &request, entry); entry.MAC == "" {
		return admission.Errored(http.StatusInternalServerError, errors.New("stamping the decision: the operator has no key yet; try again"))
	}
	body, err := fold(req.Object.Raw, entry)
	if err != nil {
		return admission.Errored(http.StatusInternalServerError, err)
	}
	return admission.PatchResponseFromRaw(req.Object.Raw, body)
}

// Entry is the decision as that user made it at that time. Groups are sorted, so that the authority can compare.
func Entry(d v1alpha1.Decision, user authenticationv1.UserInfo, now time.Time) v1alpha1.StampedDecision {
	groups := slices.Clone(user.Groups)
	slices.Sort(groups)
	return v1alpha1.StampedDecision{
		Verdict:  d.Verdict,
		Reason:   d.Reason,
		Duration: d.Duration,
		User:     user.Username,
		Groups:   slices.Compact(groups),
		// etcd keeps seconds.
		Time: metav1.NewTime(now.UTC().Truncate(time.Second)),
	}
}

// fold works on the object as it came, so that fields this program does not know survive.
func fold(raw []byte, entry v1alpha1.StampedDecision) ([]byte, error) {
	var object map[string]any
	if err := json.Unmarshal(raw, &object); err != nil {
		return nil, fmt.Errorf("reading the approval request: %w", err)
	}
	spec, ok := object["spec"].(map[string]any)
	if !ok {
		return nil, errors.New("reading the approval request: it has no spec")
	}
	delete(spec, "decision")
	list, _ := spec["decisions"].([]any)
	spec["decisions"] = append(list, entry)
	body, err := json.Marshal(object)
	if err != nil {
		return nil, fmt.Errorf("writing the approval request: %w", err)
	}
	return body, nil
}
