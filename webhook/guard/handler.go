package guard

import (
	"context"
	"fmt"
	"net/http"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
	logf "sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/chaperone-dev/chaperone/sidecar/redirect/resolver"
	"github.com/chaperone-dev/chaperone/webhook/inject"
	"github.com/chaperone-dev/chaperone/webhook/selection"
)

// +kubebuilder:webhookconfiguration:mutating=false,name=chaperone
// +kubebuilder:webhook:mutating=false,name=pods.guard.chaperone.dev,path=/validate-pods,failurePolicy=fail,sideEffects=None,timeoutSeconds=10,groups="",versions=v1,resources=pods,verbs=create,admissionReviewVersions=v1,serviceName=chaperone-webhook,serviceNamespace=chaperone-system,patch=`{"rules":[{"apiGroups":[""],"apiVersions":["v1"],"operations":["CREATE","UPDATE"],"resources":["pods"],"scope":"Namespaced"},{"apiGroups":[""],"apiVersions":["v1"],"operations":["UPDATE"],"resources":["pods/ephemeralcontainers","pods/resize"],"scope":"Namespaced"},{"apiGroups":[""],"apiVersions":["v1"],"operations":["CONNECT"],"resources":["pods/exec","pods/attach","pods/portforward"],"scope":"Namespaced"}],"namespaceSelector":{"matchExpressions":[{"key":"kubernetes.io/metadata.name","operator":"DoesNotExist"}]},"matchConditions":[{"name":"changes-what-is-guarded","expression":"request.operation != 'UPDATE' || object.spec != oldObject.spec || ['chaperone.dev/injected', 'chaperone.dev/bound-labels', 'chaperone.dev/seal'].exists(k, object.metadata.?annotations[?k] != oldObject.metadata.?annotations[?k]) || object.metadata.?labels['chaperone.dev/injected'] != oldObject.metadata.?labels['chaperone.dev/injected']"},{"name":"connects-to-ours","expression":"request.operation != 'CONNECT' || object.?container.orValue('') in ['chaperone', 'chaperone-redirect'] || [15001, 15053].exists(p, p in object.?ports.orValue([]))"}]}`
// +kubebuilder:webhook:mutating=false,name=elsewhere.guard.chaperone.dev,path=/validate-pods-elsewhere,failurePolicy=ignore,sideEffects=None,timeoutSeconds=5,groups="",versions=v1,resources=pods,verbs=create,admissionReviewVersions=v1,serviceName=chaperone-webhook,serviceNamespace=chaperone-system,patch=`{"namespaceSelector":{"matchExpressions":[{"key":"kubernetes.io/metadata.name","operator":"NotIn","values":["kube-system","chaperone-system"]}]}}`

// Handler validates pods of namespaces that hold policies: their creation, their updates, what is put into them while
// they run, and who gets into our containers.
//
// As for injection, a second entry covers the namespaces that the operator has not noticed a policy in yet; there
// Open is set. An update that touches neither the spec nor our marks is not asked about, so that other controllers
// can finish their work (a Job's finalizers) while the operator is down; nor is an exec into an agent's own container.
type Handler struct {
	Lookup selection.Lookup
	// Live reads pods and Secrets from the API server.
	Live client.Reader
	// Key returns the key that seals are made with.
	Key func() []byte
	// Exempt namespaces are never touched.
	Exempt func(namespace string) bool
	// Open lets a pod through where policies cannot be read.
	Open bool
	// DNS is the resolver settings of the operator's own pod.
	DNS     resolver.Settings
	Decoder admission.Decoder
}

var _ admission.Handler = (*Handler)(nil)

// Handle answers one admission review.
func (h *Handler) Handle(ctx context.Context, req admission.Request) admission.Response {
	if h.Exempt(req.Namespace) {
		return admission.Allowed("")
	}
	var refusal *Refusal
	var err error
	switch req.Operation {
	case admissionv1.Create:
		refusal, err = h.created(ctx, req)
	case admissionv1.Update:
		refusal, err = h.updated(ctx, req)
	case admissionv1.Connect:
		refusal, err = h.connected(ctx, req)
	}
	switch {
	case err != nil && h.Open:
		logf.FromContext(ctx).Error(err, "pod let through unguarded", "namespace", req.Namespace, "name", req.Name)
		return admission.Allowed("").WithWarnings("chaperone could not look for a policy: " + err.Error())
	case err != nil:
		return admission.Errored(http.StatusInternalServerError, err)
	case refusal != nil:
		return admission.Denied(refusal.Error())
	}
	return admission.Allowed("")
}

func (h *Handler) created(ctx context.Context, req admission.Request) (*Refusal, error) {
	in := Input{Pod: &corev1.Pod{}, Key: h.Key(), SecretType: h.secretType(ctx, req.Namespace), DNS: h.DNS}
	if err := h.Decoder.Decode(req, in.Pod); err != nil {
		return nil, fmt.Errorf("reading the pod: %w", err)
	}
	in.Pod.Namespace = req.Namespace
	if inject.Static(in.Pod, req.UserInfo.Groups) {
		return nil, nil
	}
	read := h.Lookup.Fresh
	if h.Open && !Marked(in.Pod) {
		// Injection has just asked the API server about this pod and found no policy.
		read = h.Lookup.Cached
	}
	var err error
	if in.Policies, err = read(ctx, req.Namespace); err != nil || len(in.Policies) == 0 {
		return nil, err
	}
	if in.Selected = selection.Select(in.Policies, selection.Labels(in.Pod)); len(in.Selected) == 0 {
		return Unselected().Run(in), nil
	}
	return Created().Run(in), nil
}

func (h *Handler) updated(ctx context.Context, req admission.Request) (*Refusal, error) {
	in := Input{Pod: &corev1.Pod{}, Old: &corev1.Pod{}, Key: h.Key(), SecretType: h.secretType(ctx, req.Namespace)}
	if err := h.Decoder.Decode(req, in.Pod); err != nil {
		return nil, fmt.Errorf("reading the pod: %w", err)
	}
	if err := h.Decoder.DecodeRaw(req.OldObject, in.Old); err != nil {
		return nil, fmt.Errorf("reading the pod as it was: %w", err)
	}
	if inject.Static(in.Pod, req.UserInfo.Groups) {
		return nil, nil
	}
	var err error
	if in.Policies, err = h.Lookup.Known(ctx, req.Namespace); err != nil {
		return nil, err
	}
	chain := Updated()
	if Marked(in.Old) {
		if in.Selected, err = selection.Of(in.Policies, in.Old); err != nil {
			return nil, err
		}
		if req.SubResource == "ephemeralcontainers" {
			chain = Debugged()
		}
	}
	return chain.Run(in), nil
}

// secretType reads a Secret for its type alone.
func (h *Handler) secretType(ctx context.Context, namespace string) func(string) (corev1.SecretType, error) {
	return func(name string) (corev1.SecretType, error) {
		var secret corev1.Secret
		err := h.Live.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, &secret)
		if apierrors.IsNotFound(err) {
			return "", nil
		}
		return secret.Type, err
	}
}
