package broker

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"regexp"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
	"github.com/chaperone-dev/chaperone/controllers/naming"
	"github.com/chaperone-dev/chaperone/controllers/snapshot"
	"github.com/chaperone-dev/chaperone/sidecar/control/controlpb"
	"github.com/chaperone-dev/chaperone/sidecar/policy"
)

const (
	// maxText leaves room under the 8192 characters of ApprovalRequest.spec.command.text.
	maxText          = 8000
	maxJustification = 1000
	// maxLength is more than any protocol lets a command have.
	maxLength = 1 << 40

	scopeWorkload = "Workload"
)

var digestForm = regexp.MustCompile(`^[0-9a-f]{64}$`)

// ask is a request for approval that the policies really demand.
type ask struct {
	policy   *v1alpha1.AgentPolicy
	target   string
	rule     string
	protocol policy.Protocol
	approval *policy.Approval
	command  v1alpha1.RequestedCommand
	most     *metav1.Duration // that a grant may be used again for
	words    string           // the agent's own
	pod      v1alpha1.RequestingPod
	// key is equal for identical asks: of the same pod (or workload), for the same rule as it now stands, of the
	// same bytes.
	key string
}

// ask checks what a sidecar asks for against what the operator itself knows.
func (b *Broker) ask(ctx context.Context, c *caller, req *controlpb.ApproveRequest) (*ask, error) {
	if len(req.GetRule()) > maxName || !digestForm.MatchString(req.GetDigest()) || req.GetLength() < 0 || req.GetLength() > maxLength {
		return nil, status.Error(codes.InvalidArgument, "the request for approval is malformed")
	}
	ap, target, err := b.target(ctx, c, req.GetPolicy(), req.GetTarget())
	if err != nil {
		return nil, err
	}
	bound, err := b.Sets.For(ctx, c.pod)
	if err != nil {
		return nil, status.Error(codes.Unavailable, "the policies could not be read; try again")
	}
	_, doc := bound.Policy(req.GetPolicy())
	protocol, approval := demanded(doc, target.Name, req.GetRule())
	if approval == nil {
		return nil, status.Errorf(codes.FailedPrecondition,
			"rule %s of target %s in policy %s asks for no approval (policy generation %d, the sidecar judged by %d); try again",
			naming.Escape(req.GetRule(), maxName), target.Name, req.GetPolicy(), ap.Generation, req.GetGeneration())
	}
	if string(protocol) != req.GetProtocol() {
		return nil, status.Errorf(codes.InvalidArgument, "target %s speaks %s", target.Name, protocol)
	}
	a := &ask{
		policy: ap, target: target.Name, rule: req.GetRule(), protocol: protocol, approval: approval,
		command: v1alpha1.RequestedCommand{Text: naming.Escape(req.GetText(), maxText), Length: req.GetLength(), SHA256: req.GetDigest()},
		most:    longest(target, req.GetRule()),
		words:   naming.Escape(req.GetJustification(), maxJustification),
		pod: v1alpha1.RequestingPod{
			Name: c.Pod, UID: c.UID, ServiceAccount: c.ServiceAccount,
			Owner: b.owners.of(ctx, c.pod), Images: images(c.pod),
		},
	}
	a.key, err = a.identity(c.pod)
	return a, err
}

// demanded returns what the rule of a target asks of people; nil if it asks for nothing. A built-in rule asks for the
// defaults.
func demanded(doc *policy.Policy, target, rule string) (policy.Protocol, *policy.Approval) {
	for i := range doc.Targets {
		t := &doc.Targets[i]
		if t.Name != target {
			continue
		}
		var rules []policy.Rule
		var protocol policy.Protocol
		builtin := map[string]policy.Action{}
		switch {
		case t.Postgres != nil:
			protocol, rules = policy.ProtocolPostgres, t.Postgres.Rules
			builtin[policy.RuleDefault] = t.Postgres.DefaultAction
			builtin[policy.RuleUnrecognised] = t.Postgres.Unrecognised
			builtin[policy.RuleInference] = t.Postgres.Inference
		case t.SSH != nil:
			protocol, rules = policy.ProtocolSSH, t.SSH.Rules
			builtin[policy.RuleDefault] = t.SSH.DefaultAction
		case t.Kubernetes != nil:
			protocol, rules = policy.ProtocolKubernetes, t.Kubernetes.Rules
			builtin[policy.RuleDefault] = t.Kubernetes.DefaultAction
		}
		if rule == policy.RuleAccess && t.Access != nil && t.Access.Approval != nil {
			return protocol, t.Access.Approval
		}
		for j := range rules {
			if rules[j].Name == rule && rules[j].Action == policy.RequireApproval {
				return protocol, rules[j].Approval
			}
		}
		if builtin[rule] == policy.RequireApproval {
			return protocol, snapshot.DefaultApproval()
		}
		return protocol, nil
	}
	return "", nil
}

// longest is how long the policy lets a grant be used again; nil for until the request expires.
func longest(t *v1alpha1.Target, rule string) *metav1.Duration {
	if rule == policy.RuleAccess && t.Access != nil {
		return t.Access.MaxDuration
	}
	approval := func(name string, a *v1alpha1.Approval) *metav1.Duration {
		if name != rule || a == nil {
			return nil
		}
		return a.MaxDuration
	}
	var out *metav1.Duration
	switch {
	case t.Postgres != nil:
		for i := range t.Postgres.Rules {
			out = cmp.Or(out, approval(t.Postgres.Rules[i].Name, t.Postgres.Rules[i].Approval))
		}
	case t.SSH != nil:
		for i := range t.SSH.Rules {
			out = cmp.Or(out, approval(t.SSH.Rules[i].Name, t.SSH.Rules[i].Approval))
		}
	case t.Kubernetes != nil:
		for i := range t.Kubernetes.Rules {
			out = cmp.Or(out, approval(t.Kubernetes.Rules[i].Name, t.Kubernetes.Rules[i].Approval))
		}
	}
	return out
}

func (a *ask) identity(pod *corev1.Pod) (string, error) {
	who := map[string]any{"pod": a.pod.UID}
	// Without the digests of what runs, two pods of a workload cannot be said to be the same.
	if a.approval.Scope == scopeWorkload && a.pod.Owner != "" && pinned(pod) {
		who = map[string]any{"owner": a.pod.Owner, "serviceAccount": a.pod.ServiceAccount, "images": a.pod.Images}
	}
	text, err := json.Marshal(map[string]any{
		"who": who, "policy": a.policy.UID, "target": a.target, "rule": a.rule, "digest": a.command.SHA256,
		"required": a.approval.Required, "groups": a.approval.Groups, "excluded": a.policy.Spec.ExcludeApprovers,
		"scope": a.approval.Scope, "maxDuration": a.most,
	})
	if err != nil {
		return "", fmt.Errorf("encoding an approval request's identity: %w", err)
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:20]), nil
}

// request is the object that people see. number tells requests of one identity apart, where the ones before are
// decided.
func (a *ask) request(number int, now time.Time) *v1alpha1.ApprovalRequest {
	return &v1alpha1.ApprovalRequest{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: a.policy.Namespace,
			Name:      naming.Request(a.pod.Name, a.key, number),
			Labels: map[string]string{
				LabelRequest: a.key,
				LabelPodUID:  string(a.pod.UID),
				LabelPolicy:  naming.Label(a.policy.Name),
			},
		},
		Spec: v1alpha1.ApprovalRequestSpec{
			Pod:      a.pod,
			Policy:   v1alpha1.PolicyReference{Name: a.policy.Name, UID: a.policy.UID, Generation: a.policy.Generation},
			Rule:     a.rule,
			Target:   a.target,
			Protocol: string(a.protocol),
			Command:  a.command,
			Approval: v1alpha1.RequestedApproval{
				Required: a.approval.Required, Groups: a.approval.Groups,
				ExcludeApprovers: a.policy.Spec.ExcludeApprovers, Scope: a.approval.Scope, MaxDuration: a.most,
			},
			Justification: a.words,
			// Whole seconds are what the API keeps; the MAC of a decision is made over this time.
			ExpiresAt: metav1.NewTime(now.Add(time.Duration(a.approval.TimeoutSeconds) * time.Second).UTC().Truncate(time.Second)),
		},
	}
}

// Labels of ApprovalRequests and SessionRecordings.
const (
	LabelRequest = "chaperone.dev/request"
	LabelPodUID  = "chaperone.dev/pod-uid"
	LabelPolicy  = "chaperone.dev/policy"
	LabelTarget  = "chaperone.dev/target"
)
