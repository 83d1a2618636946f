package guard

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/chaperone-dev/chaperone/sidecar/layout"
)

// connected judges exec, attach and port-forward. An empty container name never means ours: the API server takes the
// only regular container or asks for a name.
//
// The ports of a port-forward are in its stream, not in the request, unless a WebSocket client names them; those that
// are not named arrive at the sidecar's listeners as direct dials, which they refuse.
func (h *Handler) connected(ctx context.Context, req admission.Request) (*Refusal, error) {
	var what, reason string
	switch req.SubResource {
	case "exec":
		var o corev1.PodExecOptions
		if err := h.Decoder.DecodeRaw(req.Object, &o); err != nil {
			return nil, fmt.Errorf("reading the exec options: %w", err)
		}
		if layout.Ours(o.Container) {
			reason, what = "sidecar-exec", "exec into container "+o.Container
		}
	case "attach":
		var o corev1.PodAttachOptions
		if err := h.Decoder.DecodeRaw(req.Object, &o); err != nil {
			return nil, fmt.Errorf("reading the attach options: %w", err)
		}
		if layout.Ours(o.Container) {
			reason, what = "sidecar-attach", "attach to container "+o.Container
		}
	case "portforward":
		var o corev1.PodPortForwardOptions
		if err := h.Decoder.DecodeRaw(req.Object, &o); err != nil {
			return nil, fmt.Errorf("reading the port-forward options: %w", err)
		}
		for _, port := range []int32{layout.ProxyPort, layout.DNSPort} {
			if slices.Contains(o.Ports, port) {
				reason, what = "sidecar-port-forward", fmt.Sprintf("port-forward to the sidecar's port %d", port)
			}
		}
	}
	if reason == "" {
		return nil, nil
	}
	var pod corev1.Pod
	if err := h.Live.Get(ctx, client.ObjectKey{Namespace: req.Namespace, Name: req.Name}, &pod); err != nil {
		return nil, client.IgnoreNotFound(err)
	}
	if !Marked(&pod) {
		return nil, nil
	}
	return &Refusal{
		Pod: req.Namespace + "/" + req.Name, Reason: reason,
		Message: what + " is refused: it holds the pod's credentials; its log is open to you (kubectl logs -c " + layout.SidecarContainer + ")",
	}, nil
}
