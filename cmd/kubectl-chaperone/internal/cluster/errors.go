package cluster

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// kind is a sort of object as people call it, and how they find one.
type kind struct {
	// one and resource are "approval request" and "approvalrequests".
	one, resource string
	// list is the command that lists them, without the namespace.
	list string
}

var (
	approvalKind  = kind{"approval request", "approvalrequests.chaperone.dev", "kubectl chaperone approvals"}
	recordingKind = kind{"recording", "sessionrecordings.chaperone.dev", "kubectl chaperone recordings"}
	logKind       = kind{"log of recording", "sessionrecordings/log in group logs.chaperone.dev", "kubectl chaperone recordings"}
	keysKind      = kind{"signing keys", "signingkeys.logs.chaperone.dev", "kubectl get signingkeys"}
	policyKind    = kind{"policy", "agentpolicies.chaperone.dev", "kubectl get agentpolicies"}
	podKind       = kind{"pod", "pods", "kubectl get pods"}
)

// explained is an error of the API server with the object it is about and what to do.
type explained struct {
	text  string
	cause error
}

func (e *explained) Error() string { return e.text }
func (e *explained) Unwrap() error { return e.cause }

// explain names the object, says what the API server said, and the way out where there is one. An empty name means
// all objects of the namespace, an empty namespace all of the cluster.
func explain(err error, k kind, namespace, name string) error {
	if err == nil {
		return nil
	}
	what := k.one
	switch {
	case k == keysKind:
		what = "reading the operator's signing keys"
	case name == "" && namespace == "":
		what = "listing " + k.resource + " of all namespaces"
	case name == "":
		what = "listing " + k.resource + " of namespace " + namespace
	case namespace != "":
		what += " " + namespace + "/" + name
	default:
		what += " " + name
	}
	say := func(format string, args ...any) error {
		return &explained{what + ": " + fmt.Sprintf(format, args...), err}
	}
	var unreachable *url.Error
	switch {
	case apierrors.IsNotFound(err) && (name == "" || strings.Contains(err.Error(), "could not find the requested resource")):
		return say("the cluster does not know this kind of object; is Chaperone installed in it? (%v)", err)
	case apierrors.IsNotFound(err):
		return &explained{fmt.Sprintf("%s not found; %s -n %s lists those that there are", what, k.list, namespace), err}
	case apierrors.IsForbidden(err) && strings.Contains(err.Error(), "admission webhook"):
		return say("%v", err)
	case apierrors.IsForbidden(err) && k == logKind:
		return say("%v; reading what was recorded needs the ClusterRole chaperone-auditor or one like it", err)
	case apierrors.IsForbidden(err) && k == keysKind:
		return say("%v; the ClusterRole chaperone-verifier allows it, which the chart binds to everybody who may log in", err)
	case apierrors.IsForbidden(err) && k == podKind:
		return say("%v; reading pods needs the ClusterRole view or one like it", err)
	case apierrors.IsForbidden(err):
		return say("%v; whoever administers the namespace can bind the ClusterRole chaperone-viewer, or chaperone-approver to decide", err)
	case apierrors.IsUnauthorized(err):
		return say("the API server does not know you; log in again, or name another context with --context")
	case apierrors.IsServiceUnavailable(err) && (k == logKind || k == keysKind):
		return say("the recordings API does not answer (%v); is the operator running? kubectl get apiservice v1alpha1.logs.chaperone.dev", err)
	case errors.As(err, &unreachable):
		return say("the API server cannot be reached (%v); --context and --kubeconfig choose another", unreachable)
	}
	return say("%v", err)
}
