package controllers

import (
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
	"github.com/chaperone-dev/chaperone/controllers/presence"
	"github.com/chaperone-dev/chaperone/controllers/snapshot"
	"github.com/chaperone-dev/chaperone/sidecar/layout"
)

// Reasons of an AgentPolicy's conditions.
const (
	ReasonReady             = "Ready"
	ReasonInvalid           = "Invalid"
	ReasonReference         = "ReferenceNotReady"
	ReasonCredentials       = "CredentialsNotReady"
	ReasonConflict          = "ConflictingTargets"
	ReasonProtected         = "AllPodsProtected"
	ReasonNoPods            = "NoPodSelected"
	ReasonWebhooks          = "WebhooksNotReady"
	ReasonPodSecurity       = "RefusedByPodSecurity"
	ReasonUnprotected       = "PodsUnprotected"
	ReasonSidecarRefuses    = "SidecarRefusesPolicy"
	ReasonSidecarNotReached = "SidecarNotConnected"
	ReasonNotRecorded       = "NotRecorded"
	ReasonRolesLimited      = "RolesLimited"
	ReasonPowerfulRole      = "PowerfulRole"
)

const (
	// away is how long a sidecar may be without a connection before it is spoken of: more than a restart of the
	// operator and the sidecars' backoff (20 s) together.
	away = 90 * time.Second
	// maxNamed is how many pods a message names.
	maxNamed = 3
	// maxMessage is well below the 32768 characters of a condition's message: it is read in a terminal.
	maxMessage = 2000
	// maxGenerations is status.sidecars' bound.
	maxGenerations = 16
)

// policyStatus is the status that follows from what was seen. It has no side effects.
func policyStatus(o *observation) v1alpha1.AgentPolicyStatus {
	out := v1alpha1.AgentPolicyStatus{
		ObservedGeneration: o.policy.Generation,
		Conditions:         slices.Clone(o.policy.Status.Conditions),
	}
	reason, message := o.ready()
	set(&out, o, v1alpha1.ConditionReady, reason == ReasonReady, reason, message)
	out.Pods = o.podCounts()
	out.Sidecars = o.generations()
	reason, message = o.protecting(out.Pods)
	set(&out, o, v1alpha1.ConditionProtecting, reason == ReasonProtected || reason == ReasonNoPods, reason, message)
	if reason, message = o.privileges(); reason == "" {
		meta.RemoveStatusCondition(&out.Conditions, v1alpha1.ConditionLeastPrivilege)
	} else {
		set(&out, o, v1alpha1.ConditionLeastPrivilege, reason == ReasonRolesLimited, reason, message)
	}
	return out
}

func set(s *v1alpha1.AgentPolicyStatus, o *observation, kind string, ok bool, reason, message string) {
	status := metav1.ConditionFalse
	if ok {
		status = metav1.ConditionTrue
	}
	if len(message) > maxMessage {
		message = strings.ToValidUTF8(message[:maxMessage], "") + " …"
	}
	meta.SetStatusCondition(&s.Conditions, metav1.Condition{
		Type: kind, Status: status, Reason: reason, Message: message,
		ObservedGeneration: o.policy.Generation, LastTransitionTime: metav1.NewTime(o.now),
	})
}

func (o *observation) ready() (reason, message string) {
	switch {
	case o.broken != nil && snapshot.List(o.broken).References():
		return ReasonReference, o.broken.Error() + "; the targets concerned refuse everything until it is mended"
	case o.broken != nil:
		return ReasonInvalid, o.broken.Error() + "; the policy refuses everything until it is mended"
	case o.conflict != "":
		return ReasonConflict, o.conflict
	case o.credentials != nil:
		return ReasonCredentials, o.credentials.Error() + "; connections to the targets concerned are refused until it is mended"
	}
	return ReasonReady, "the policy is in force as written"
}

// protecting names the first of these that is so and tells all of them.
func (o *observation) protecting(n v1alpha1.PodCounts) (reason, message string) {
	var problems []string
	tell := func(why, text string) {
		if text == "" {
			return
		}
		if reason == "" {
			reason = why
		}
		problems = append(problems, text)
	}
	if o.webhooks != nil {
		tell(ReasonWebhooks, fmt.Sprintf("new pods would not be injected: %v", o.webhooks))
	}
	tell(ReasonPodSecurity, o.podSecurity())
	tell(ReasonUnprotected, o.unprotected())
	tell(ReasonSidecarRefuses, o.failing("the sidecar of %s keeps its last policies: %s", func(s presence.Sidecar) string { return s.Error }))
	tell(ReasonSidecarNotReached, o.notConnected())
	tell(ReasonNotRecorded, o.failing("what the agent of %s does is not recorded: %s", func(s presence.Sidecar) string { return s.RecordingError }))
	switch {
	case reason != "":
		return reason, strings.Join(problems, "; ")
	case n.Selected == 0:
		return ReasonNoPods, "the policy selects no pod yet"
	}
	return ReasonProtected, fmt.Sprintf("all %d selected pods run behind a sidecar", n.Selected)
}

// podSecurity tells of a namespace that refuses the redirect container, which holds NET_ADMIN for a moment.
func (o *observation) podSecurity() string {
	level := enforcedLevel(o.namespace)
	if level == "" {
		return ""
	}
	refused := ""
	if n := o.refusedPods(); n > 0 {
		refused = fmt.Sprintf(" (%d pods are missing for it, of replica set %s)", n, o.refused[0].Name)
	}
	return fmt.Sprintf("namespace %s enforces Pod Security level %s, which refuses container %s for its capability NET_ADMIN, so that new pods cannot be created%s; "+
		"allow it with: kubectl label namespace %s %s=privileged --overwrite %s=%s",
		o.namespace.Name, level, layout.RedirectContainer, refused, o.namespace.Name, podSecurityEnforce, podSecurityWarn, level)
}

func (o *observation) unprotected() string {
	var before, after []string
	for i := range o.pods {
		switch p := &o.pods[i]; {
		case injected(p):
		case p.CreationTimestamp.Before(&o.policy.CreationTimestamp):
			before = append(before, p.Name)
		default:
			after = append(after, p.Name)
		}
	}
	var out []string
	if len(before) > 0 {
		out = append(out, fmt.Sprintf("%s %s since before the policy; delete it, or restart its workload (kubectl rollout restart)", named("pod", before), runs(before)))
	}
	if len(after) > 0 {
		out = append(out, fmt.Sprintf("%s %s without a sidecar although created after the policy (static, relabelled, or admitted while the webhooks were away); delete it to have it made again", named("pod", after), runs(after)))
	}
	return strings.Join(out, "; ")
}

// failing tells of connected sidecars that have something to complain of.
func (o *observation) failing(format string, complaint func(presence.Sidecar) string) string {
	var pods []string
	why := ""
	for i := range o.pods {
		s := o.sidecars[o.pods[i].UID]
		if c := complaint(s); c != "" && s.Connected {
			if pods = append(pods, o.pods[i].Name); why == "" {
				why = c
			}
		}
	}
	if pods == nil {
		return ""
	}
	return fmt.Sprintf(format, named("pod", pods), why)
}

// notConnected tells of sidecars that run and have not been heard of for a while.
func (o *observation) notConnected() string {
	var pods []string
	var longest time.Duration
	for i := range o.pods {
		p := &o.pods[i]
		since, runs := sidecarSince(p)
		if !injected(p) || !runs {
			continue
		}
		s, known := o.sidecars[p.UID]
		if known && s.Connected {
			continue
		}
		for _, t := range []time.Time{s.Seen, o.started} {
			if t.After(since) {
				since = t
			}
		}
		if d := o.now.Sub(since); d > away {
			pods, longest = append(pods, p.Name), max(longest, d)
		}
	}
	if pods == nil {
		return ""
	}
	return fmt.Sprintf("the sidecar of %s has not reached the operator for %s, so approvals and new credentials fail there; "+
		"if a NetworkPolicy restricts these pods, allow them TCP port 8443 of the pods app.kubernetes.io/name=chaperone in namespace %s, and DNS",
		named("pod", pods), longest.Round(time.Minute), o.operatorNamespace)
}

func (o *observation) podCounts() v1alpha1.PodCounts {
	var n v1alpha1.PodCounts
	for i := range o.pods {
		n.Selected++
		if injected(&o.pods[i]) {
			n.Protected++
		} else {
			n.Unprotected++
		}
	}
	refused := o.refusedPods()
	n.Selected += refused
	n.Unprotected += refused
	return n
}

func (o *observation) refusedPods() (n int32) {
	for i := range o.refused {
		n += missingPods(o.policy, &o.refused[i])
	}
	return n
}

// generations counts connected sidecars by the generation that they hold, the newest first.
func (o *observation) generations() []v1alpha1.GenerationCount {
	held := map[int64]int32{}
	for i := range o.pods {
		if s, ok := o.sidecars[o.pods[i].UID]; ok && s.Connected {
			if g := snapshot.Generations(s.Version)[o.policy.Name]; g > 0 {
				held[g]++
			}
		}
	}
	var out []v1alpha1.GenerationCount
	for g, n := range held {
		out = append(out, v1alpha1.GenerationCount{Generation: g, Count: n})
	}
	slices.SortFunc(out, func(a, b v1alpha1.GenerationCount) int { return int(b.Generation - a.Generation) })
	if len(out) > maxGenerations {
		out = out[:maxGenerations]
	}
	return out
}

// named lists a few names and says how many more there are.
func named(kind string, names []string) string {
	slices.Sort(names)
	if len(names) > 1 {
		kind += "s"
	}
	if len(names) <= maxNamed {
		return kind + " " + strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s %s and %d more", kind, strings.Join(names[:maxNamed], ", "), len(names)-maxNamed)
}

func runs(names []string) string {
	if len(names) == 1 {
		return "has run"
	}
	return "have run"
}

// sidecarSince tells since when the pod's sidecar container runs.
func sidecarSince(p *corev1.Pod) (since time.Time, runs bool) {
	for i := range p.Status.InitContainerStatuses {
		if s := &p.Status.InitContainerStatuses[i]; s.Name == layout.SidecarContainer && s.State.Running != nil {
			return s.State.Running.StartedAt.Time, true
		}
	}
	return time.Time{}, false
}
