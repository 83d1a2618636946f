package kube

import "net/http"

// upgrade serves exec, attach and port-forward.
func (x *exchange) upgrade() {
	x.refuse(&refusal{code: http.StatusNotImplemented, reason: "NotImplemented", message: "this version of Chaperone does not serve " + x.request.Kubernetes.Subresource})
}
