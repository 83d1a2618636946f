package command

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
	"github.com/chaperone-dev/chaperone/sidecar/layout"
)

// standingNow is how Chaperone stands in a cluster or a namespace of it.
type standingNow struct {
	Plugin    string             `json:"plugin"`
	Operators []standingOperator `json:"operators"`
	Policies  []standingPolicy   `json:"policies"`
	Pods      v1alpha1.PodCounts `json:"pods"`
	Sidecars  []standingSidecars `json:"sidecars"`
	Pending   []standingRequests `json:"pendingApprovals"`
	Records   map[string]int     `json:"recordings"`
	// Problems are conditions that are not as they should be.
	Problems []string `json:"problems,omitempty"`
	// Unknown are what could not be found out, and why.
	Unknown []string `json:"unknown,omitempty"`
}

type standingOperator struct {
	Namespace string    `json:"namespace"`
	Pod       string    `json:"pod"`
	Ready     bool      `json:"ready"`
	Image     string    `json:"image"`
	Restarts  int32     `json:"restarts"`
	Started   time.Time `json:"started"`
}

type standingPolicy struct {
	Namespace   string             `json:"namespace"`
	Name        string             `json:"name"`
	Enforcement string             `json:"enforcement"`
	Ready       string             `json:"ready"`
	Protecting  string             `json:"protecting"`
	Pods        v1alpha1.PodCounts `json:"pods"`
	Generation  int64              `json:"generation"`
	// Held says how many sidecars hold which generation.
	Held []v1alpha1.GenerationCount `json:"held,omitempty"`
}

type standingSidecars struct {
	Image string `json:"image"`
	Pods  int    `json:"pods"`
	Ready int    `json:"ready"`
}

type standingRequests struct {
	Namespace string    `json:"namespace"`
	Count     int       `json:"count"`
	Oldest    time.Time `json:"oldest"`
}

func (s *standingNow) operators(pods []corev1.Pod) {
	for i := range pods {
		p := &pods[i]
		o := standingOperator{Namespace: p.Namespace, Pod: p.Name, Started: p.CreationTimestamp.Time}
		for _, c := range p.Spec.Containers {
			o.Image = cmp.Or(o.Image, c.Image)
		}
		for _, c := range p.Status.Conditions {
			o.Ready = o.Ready || c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
		}
		for _, c := range p.Status.ContainerStatuses {
			o.Restarts += c.RestartCount
		}
		if !o.Ready {
			s.Problems = append(s.Problems, fmt.Sprintf("operator %s/%s is not ready", p.Namespace, p.Name))
		}
		s.Operators = append(s.Operators, o)
	}
	if len(pods) == 0 {
		s.Problems = append(s.Problems, "no operator runs: pods of a policy's namespace cannot be created, nothing is approved, and recordings stay in the pods")
	}
}

func (s *standingNow) policies(items []v1alpha1.AgentPolicy) {
	for i := range items {
		ap := &items[i]
		p := standingPolicy{
			Namespace: ap.Namespace, Name: ap.Name, Enforcement: cmp.Or(string(ap.Spec.Enforcement), "Enforce"), Generation: ap.Generation,
			Pods: ap.Status.Pods, Held: ap.Status.Sidecars,
		}
		p.Ready, p.Protecting = s.condition(ap, v1alpha1.ConditionReady), s.condition(ap, v1alpha1.ConditionProtecting)
		s.Pods.Selected += p.Pods.Selected
		s.Pods.Protected += p.Pods.Protected
		s.Pods.Unprotected += p.Pods.Unprotected
		s.Policies = append(s.Policies, p)
	}
}

func (s *standingNow) condition(ap *v1alpha1.AgentPolicy, kind string) string {
	c := meta.FindStatusCondition(ap.Status.Conditions, kind)
	if c == nil {
		if len(ap.Status.Conditions) == 0 && kind == v1alpha1.ConditionReady {
			s.Problems = append(s.Problems, fmt.Sprintf("policy %s/%s: no operator has looked at it", ap.Namespace, ap.Name))
		}
		return "Unknown"
	}
	if c.Status != metav1.ConditionTrue {
		s.Problems = append(s.Problems, fmt.Sprintf("policy %s/%s, %s: %s", ap.Namespace, ap.Name, c.Reason, c.Message))
	}
	return string(c.Status)
}

func (s *standingNow) sidecars(pods []corev1.Pod) {
	by := map[string]*standingSidecars{}
	for i := range pods {
		p := &pods[i]
		if p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed {
			continue
		}
		for j := range p.Spec.InitContainers {
			c := &p.Spec.InitContainers[j]
			if c.Name != layout.SidecarContainer {
				continue
			}
			if by[c.Image] == nil {
				by[c.Image] = &standingSidecars{Image: c.Image}
			}
			by[c.Image].Pods++
			for k := range p.Status.InitContainerStatuses {
				if st := &p.Status.InitContainerStatuses[k]; st.Name == layout.SidecarContainer && st.Ready {
					by[c.Image].Ready++
				}
			}
		}
	}
	for _, v := range by {
		s.Sidecars = append(s.Sidecars, *v)
	}
	slices.SortFunc(s.Sidecars, func(a, b standingSidecars) int { return strings.Compare(a.Image, b.Image) })
}

func (s *standingNow) approvals(items []v1alpha1.ApprovalRequest) {
	by := map[string]*standingRequests{}
	for i := range items {
		r := &items[i]
		if !pending(r) {
			continue
		}
		if by[r.Namespace] == nil {
			by[r.Namespace] = &standingRequests{Namespace: r.Namespace, Oldest: r.CreationTimestamp.Time}
		}
		of := by[r.Namespace]
		of.Count++
		if r.CreationTimestamp.Time.Before(of.Oldest) {
			of.Oldest = r.CreationTimestamp.Time
		}
	}
	for _, v := range by {
		s.Pending = append(s.Pending, *v)
	}
	slices.SortFunc(s.Pending, func(a, b standingRequests) int { return strings.Compare(a.Namespace, b.Namespace) })
}
