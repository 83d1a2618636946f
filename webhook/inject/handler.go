package inject

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/chaperone-dev/chaperone/webhook/selection"
)

// mirror marks the API's image of a static pod (kubelet types.ConfigMirrorAnnotationKey); the kubelet runs the pod
// from its own file, whatever admission makes of the image.
const mirror = "kubernetes.io/config.mirror"

// +kubebuilder:webhookconfiguration:mutating=true,name=chaperone
// +kubebuilder:webhook:mutating=true,name=pods.inject.chaperone.dev,path=/mutate-pods,failurePolicy=fail,sideEffects=None,reinvocationPolicy=IfNeeded,timeoutSeconds=10,groups="",versions=v1,resources=pods,verbs=create,admissionReviewVersions=v1,serviceName=chaperone-webhook,serviceNamespace=chaperone-system,patch=`{"rules":[{"apiGroups":[""],"apiVersions":["v1"],"operations":["CREATE"],"resources":["pods"],"scope":"Namespaced"},{"apiGroups":[""],"apiVersions":["v1"],"operations":["UPDATE"],"resources":["pods/ephemeralcontainers"],"scope":"Namespaced"}],"namespaceSelector":{"matchExpressions":[{"key":"kubernetes.io/metadata.name","operator":"DoesNotExist"}]}}`
// +kubebuilder:webhook:mutating=true,name=elsewhere.inject.chaperone.dev,path=/mutate-pods-elsewhere,failurePolicy=ignore,sideEffects=None,reinvocationPolicy=IfNeeded,timeoutSeconds=5,groups="",versions=v1,resources=pods,verbs=create,admissionReviewVersions=v1,serviceName=chaperone-webhook,serviceNamespace=chaperone-system,patch=`{"namespaceSelector":{"matchExpressions":[{"key":"kubernetes.io/metadata.name","operator":"NotIn","values":["kube-system","chaperone-system"]}]}}`

// Handler injects pods at their creation and restricts ephemeral containers.
//
// Two entries of the webhook configuration lead here. The first covers the namespaces that are known to hold a
// policy and fails closed. The second covers all others, for the moment between a policy and the operator's notice
// of it: there Open is set, and a fault of ours lets the pod through with a warning.
type Handler struct {
	Lookup selection.Lookup
	// Options are asked anew for every pod: root and key change while the operator runs.
	Options func() Options
	// Exempt namespaces are never touched.
	Exempt func(namespace string) bool
	// Open lets a pod through where policies cannot be read.
	Open    bool
	Decoder admission.Decoder
}

var _ admission.Handler = (*Handler)(nil)

// Handle answers one admission review.
func (h *Handler) Handle(ctx context.Context, req admission.Request) admission.Response {
	if h.Exempt(req.Namespace) || !covers(req) {
		return admission.Allowed("")
	}
	var pod corev1.Pod
	if err := h.Decoder.Decode(req, &pod); err != nil {
		return admission.Errored(http.StatusBadRequest, fmt.Errorf("reading the pod: %w", err))
	}
	// A pod may come without its namespace; the request has it.
	before := pod.DeepCopy()
	pod.Namespace = req.Namespace
	if Static(&pod, req.UserInfo.Groups) {
		return admission.Allowed("")
	}
	after, err := h.inject(ctx, req, &pod)
	var refusal *Refusal
	switch {
	case errors.As(err, &refusal):
		return admission.Denied(fmt.Sprintf("pod %s: %s", Called(&pod), refusal.Message))
	case err != nil && h.Open:
		logf.FromContext(ctx).Error(err, "pod let through uninspected", "namespace", req.Namespace, "pod", Called(&pod))
		return admission.Allowed("").WithWarnings("chaperone could not look for a policy: " + err.Error())
	case err != nil:
		return admission.Errored(http.StatusInternalServerError, err)
	}
	body, err := graft(req.Object.Raw, before, after)
	if err != nil {
		return admission.Errored(http.StatusInternalServerError, err)
	}
	return admission.PatchResponseFromRaw(req.Object.Raw, body)
}

func (h *Handler) inject(ctx context.Context, req admission.Request, pod *corev1.Pod) (*corev1.Pod, error) {
	if req.Operation == admissionv1.Update {
		var old corev1.Pod
		if err := h.Decoder.DecodeRaw(req.OldObject, &old); err != nil {
			return nil, fmt.Errorf("reading the pod as it was: %w", err)
		}
		policies, err := h.Lookup.Known(ctx, req.Namespace)
		if err != nil {
			return nil, err
		}
		if policies, err = selection.Of(policies, &old); err != nil {
			return nil, err
		}
		return Ephemeral(pod, &old, policies), nil
	}
	policies, err := h.Lookup.Selecting(ctx, req.Namespace, selection.Labels(pod))
	if err != nil {
		return nil, err
	}
	return Inject(pod, policies, h.Options())
}

func covers(req admission.Request) bool {
	switch req.Operation {
	case admissionv1.Create:
		return req.SubResource == ""
	case admissionv1.Update:
		return req.SubResource == "ephemeralcontainers"
	}
	return false
}

// Static reports whether the pod is a kubelet's own report of a static pod, which nothing in the API can change.
func Static(pod *corev1.Pod, groups []string) bool {
	_, ok := pod.Annotations[mirror]
	return ok && slices.Contains(groups, "system:nodes")
}

// Called returns what a person knows the pod by: a generated name is not there yet at admission.
func Called(pod *corev1.Pod) string {
	if pod.Name != "" {
		return pod.Namespace + "/" + pod.Name
	}
	return pod.Namespace + "/" + pod.GenerateName + "*"
}
