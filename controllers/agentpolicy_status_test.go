package controllers

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
	"github.com/chaperone-dev/chaperone/controllers/presence"
	"github.com/chaperone-dev/chaperone/controllers/snapshot"
	"github.com/chaperone-dev/chaperone/sidecar/layout"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// pod is one that the policy selects; protected ones run since the time given.
func pod(name string, protected bool, since time.Time) corev1.Pod {
	p := corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Name: name, UID: types.UID("uid-" + name), Labels: map[string]string{"app": "agent"}, CreationTimestamp: metav1.NewTime(since),
	}}
	if protected {
		p.Annotations = map[string]string{layout.SealAnnotation: "v1.0.x", layout.BoundLabelsAnnotation: `{"app":"agent"}`}
		p.Spec.InitContainers = []corev1.Container{{Name: layout.RedirectContainer}, {Name: layout.SidecarContainer}}
		p.Status.InitContainerStatuses = []corev1.ContainerStatus{{
			Name: layout.SidecarContainer, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(since)}},
		}}
	}
	return p
}

func connected(p corev1.Pod, version string) presence.Sidecar {
	return presence.Sidecar{Pod: p.Name, UID: p.UID, Version: version, Connected: true, Seen: noon}
}

func TestPolicyStatus(t *testing.T) {
	hourAgo, dayAgo := noon.Add(-time.Hour), noon.Add(-24*time.Hour)
	a, b, old := pod("a", true, hourAgo), pod("b", true, hourAgo), pod("old", false, dayAgo)
	both := map[types.UID]presence.Sidecar{a.UID: connected(a, "x;billing=3"), b.UID: connected(b, "y;billing=2;other=9")}
	for name, c := range map[string]struct {
		change     func(*observation)
		ready      string
		protecting string
		says       []string
		pods       v1alpha1.PodCounts
		sidecars   []v1alpha1.GenerationCount
	}{
		"when no pod is selected yet": {
			ready: ReasonReady, protecting: ReasonNoPods,
		},
		"when every pod's sidecar is connected": {
			change: func(o *observation) { o.pods, o.sidecars = []corev1.Pod{a, b}, both },
			ready:  ReasonReady, protecting: ReasonProtected,
			pods:     v1alpha1.PodCounts{Selected: 2, Protected: 2},
			sidecars: []v1alpha1.GenerationCount{{Generation: 3, Count: 1}, {Generation: 2, Count: 1}},
		},
		"when a pod has run since before the policy": {
			change: func(o *observation) { o.pods, o.sidecars = []corev1.Pod{a, b, old}, both },
			ready:  ReasonReady, protecting: ReasonUnprotected, says: []string{"pod old has run since before the policy", "kubectl rollout restart"},
			pods:     v1alpha1.PodCounts{Selected: 3, Protected: 2, Unprotected: 1},
			sidecars: []v1alpha1.GenerationCount{{Generation: 3, Count: 1}, {Generation: 2, Count: 1}},
		},
		"when pods got past the webhooks": {
			change: func(o *observation) {
				for _, n := range []string{"p1", "p2", "p3", "p4", "p5"} {
					o.pods = append(o.pods, pod(n, false, noon))
				}
			},
			ready: ReasonReady, protecting: ReasonUnprotected, says: []string{"pods p1, p2, p3 and 2 more have run without a sidecar although created after the policy"},
			pods: v1alpha1.PodCounts{Selected: 5, Unprotected: 5},
		},
		"when Pod Security refuses the redirect container": {
			change: func(o *observation) {
				o.namespace.Labels = map[string]string{"pod-security.kubernetes.io/enforce": "restricted"}
				o.refused = []appsv1.ReplicaSet{{
					ObjectMeta: metav1.ObjectMeta{Name: "agent-6d4f"},
					Spec:       appsv1.ReplicaSetSpec{Replicas: ptr.To[int32](3), Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "agent"}}}},
					Status: appsv1.ReplicaSetStatus{Replicas: 1, Conditions: []appsv1.ReplicaSetCondition{{
						Type: appsv1.ReplicaSetReplicaFailure, Status: corev1.ConditionTrue, Message: `pods "agent-x" is forbidden: violates PodSecurity "restricted:latest"`,
					}}},
				}}
			},
			ready: ReasonReady, protecting: ReasonPodSecurity,
			says: []string{"enforces Pod Security level restricted", "NET_ADMIN", "2 pods are missing for it, of replica set agent-6d4f",
				"kubectl label namespace agents pod-security.kubernetes.io/enforce=privileged --overwrite"},
			pods: v1alpha1.PodCounts{Selected: 2, Unprotected: 2},
		},
		"when a NetworkPolicy keeps a sidecar from the operator": {
			change: func(o *observation) {
				o.pods, o.sidecars = []corev1.Pod{a, b}, map[types.UID]presence.Sidecar{a.UID: connected(a, "x;billing=3")}
			},
			ready: ReasonReady, protecting: ReasonSidecarNotReached,
			says:     []string{"the sidecar of pod b has not reached the operator for 10m0s", "NetworkPolicy", "TCP port 8443", "namespace chaperone-system"},
			pods:     v1alpha1.PodCounts{Selected: 2, Protected: 2},
			sidecars: []v1alpha1.GenerationCount{{Generation: 3, Count: 1}},
		},
		"when the operator itself has just started, nothing is said of sidecars that are still connecting": {
			change: func(o *observation) { o.pods, o.started = []corev1.Pod{a, b}, noon.Add(-time.Minute) },
			ready:  ReasonReady, protecting: ReasonProtected,
			pods: v1alpha1.PodCounts{Selected: 2, Protected: 2},
		},
		"when a sidecar was there a moment ago": {
			change: func(o *observation) {
				seen := connected(b, "y;billing=3")
				seen.Connected, seen.Seen = false, noon.Add(-30*time.Second)
				o.pods, o.sidecars = []corev1.Pod{a, b}, map[types.UID]presence.Sidecar{a.UID: connected(a, "x;billing=3"), b.UID: seen}
			},
			ready: ReasonReady, protecting: ReasonProtected,
			pods:     v1alpha1.PodCounts{Selected: 2, Protected: 2},
			sidecars: []v1alpha1.GenerationCount{{Generation: 3, Count: 1}},
		},
		"when a sidecar cannot put the policies in force": {
			change: func(o *observation) {
				s := connected(b, "y;billing=2")
				s.Error = "two targets share 10.0.0.7 port 5432"
				o.pods, o.sidecars = []corev1.Pod{b}, map[types.UID]presence.Sidecar{b.UID: s}
			},
			ready: ReasonReady, protecting: ReasonSidecarRefuses, says: []string{"the sidecar of pod b keeps its last policies: two targets share"},
			pods:     v1alpha1.PodCounts{Selected: 1, Protected: 1},
			sidecars: []v1alpha1.GenerationCount{{Generation: 2, Count: 1}},
		},
		"when a quota refuses the recordings": {
			change: func(o *observation) {
				s := connected(b, "y;billing=3")
				s.RecordingError = "the recording of target billing could not be filed: exceeded quota"
				o.pods, o.sidecars = []corev1.Pod{b}, map[types.UID]presence.Sidecar{b.UID: s}
			},
			ready: ReasonReady, protecting: ReasonNotRecorded, says: []string{"what the agent of pod b does is not recorded", "exceeded quota"},
			pods:     v1alpha1.PodCounts{Selected: 1, Protected: 1},
			sidecars: []v1alpha1.GenerationCount{{Generation: 3, Count: 1}},
		},
		"when the webhooks do not select the namespace": {
			change: func(o *observation) { o.webhooks = errors.New("the webhooks do not select namespace agents yet") },
			ready:  ReasonReady, protecting: ReasonWebhooks, says: []string{"new pods would not be injected"},
		},
		"when a reference is missing": {
			change: func(o *observation) {
				o.broken = snapshot.Errors{{Field: "spec.targets[0].postgres.tls.caFrom", Reference: true, Err: errors.New("configmap agents/ca does not exist")}}
			},
			ready: ReasonReference, protecting: ReasonNoPods, says: []string{"spec.targets[0].postgres.tls.caFrom: configmap agents/ca does not exist"},
		},
		"when the policy is wrong in itself": {
			change: func(o *observation) {
				o.broken = snapshot.Errors{{Field: "spec", Err: errors.New("target \"a\": hosts")}}
			},
			ready: ReasonInvalid, protecting: ReasonNoPods,
		},
		"when another policy contradicts it": {
			change: func(o *observation) { o.conflict = "destination db port 5432: policies give different credentials" },
			ready:  ReasonConflict, protecting: ReasonNoPods, says: []string{"different credentials"},
		},
		"when a credential is missing": {
			change: func(o *observation) { o.credentials = errors.New("secret agents/billing-db does not exist") },
			ready:  ReasonCredentials, protecting: ReasonNoPods, says: []string{"secret agents/billing-db does not exist"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := &observation{
				policy: &v1alpha1.AgentPolicy{ObjectMeta: metav1.ObjectMeta{
					Name: "billing", Namespace: "agents", Generation: 3, CreationTimestamp: metav1.NewTime(noon.Add(-2 * time.Hour)),
				}},
				namespace: &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "agents"}},
				now:       noon, started: noon.Add(-10 * time.Minute), operatorNamespace: "chaperone-system",
			}
			if c.change != nil {
				c.change(o)
			}
			got := policyStatus(o)
			ready := meta.FindStatusCondition(got.Conditions, v1alpha1.ConditionReady)
			protecting := meta.FindStatusCondition(got.Conditions, v1alpha1.ConditionProtecting)
			if ready.Reason != c.ready || (ready.Status == metav1.ConditionTrue) != (c.ready == ReasonReady) {
				t.Errorf("Ready: %+v, want %s", ready, c.ready)
			}
			fine := c.protecting == ReasonProtected || c.protecting == ReasonNoPods
			if protecting.Reason != c.protecting || (protecting.Status == metav1.ConditionTrue) != fine {
				t.Errorf("Protecting: %+v, want %s", protecting, c.protecting)
			}
			for _, s := range c.says {
				if !strings.Contains(ready.Message+protecting.Message, s) {
					t.Errorf("nothing says %q:\n%s\n%s", s, ready.Message, protecting.Message)
				}
			}
			if diff := cmp.Diff(c.pods, got.Pods); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(c.sidecars, got.Sidecars); diff != "" {
				t.Error(diff)
			}
			if got.ObservedGeneration != 3 || ready.ObservedGeneration != 3 {
				t.Errorf("observed generation %d", got.ObservedGeneration)
			}
		})
	}
}

func TestATransitionKeepsItsTimeUntilTheNext(t *testing.T) {
	o := &observation{policy: &v1alpha1.AgentPolicy{}, namespace: &corev1.Namespace{}, now: noon}
	o.policy.Status = policyStatus(o)
	o.now = noon.Add(time.Hour)
	if got := policyStatus(o).Conditions[0].LastTransitionTime; !got.Time.Equal(noon) {
		t.Errorf("moved to %s although nothing changed", got)
	}
}

func TestPoliciesMeetWhereOnePodCanBeUnderBoth(t *testing.T) {
	policy := func(match map[string]string) *v1alpha1.AgentPolicy {
		return &v1alpha1.AgentPolicy{Spec: v1alpha1.AgentPolicySpec{PodSelector: metav1.LabelSelector{MatchLabels: match}}}
	}
	both := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "agent", "team": "billing"}}}
	for name, c := range map[string]struct {
		a, b map[string]string
		pods []corev1.Pod
		want bool
	}{
		"one selects everything":                         {nil, map[string]string{"app": "agent"}, nil, true},
		"one asks for more than the other":               {map[string]string{"app": "agent"}, map[string]string{"app": "agent", "team": "x"}, nil, true},
		"different values of one label":                  {map[string]string{"app": "agent"}, map[string]string{"app": "other"}, []corev1.Pod{both}, false},
		"different labels, and no pod that has both":     {map[string]string{"app": "agent"}, map[string]string{"team": "billing"}, nil, false},
		"different labels, and a pod that has both":      {map[string]string{"app": "agent"}, map[string]string{"team": "billing"}, []corev1.Pod{both}, true},
		"different labels, and the pod that had is over": {map[string]string{"app": "agent"}, map[string]string{"team": "billing"}, []corev1.Pod{{ObjectMeta: both.ObjectMeta, Status: corev1.PodStatus{Phase: corev1.PodFailed}}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := meet(policy(c.a), policy(c.b), c.pods); got != c.want {
				t.Errorf("got %v", got)
			}
		})
	}
}
