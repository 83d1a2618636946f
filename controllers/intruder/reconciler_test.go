package intruder

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/chaperone-dev/chaperone/sidecar/layout"
)

func runningAs(name string, uid int64) corev1.ContainerStatus {
	return corev1.ContainerStatus{Name: name, User: &corev1.ContainerUser{Linux: &corev1.LinuxContainerUser{UID: uid}}}
}

func TestReconcileDeletesPodsInWhichAnotherContainerHasTheSidecarsUID(t *testing.T) {
	for name, test := range map[string]struct {
		status  corev1.PodStatus
		deleted bool
	}{
		"other uids stay": {status: corev1.PodStatus{
			InitContainerStatuses: []corev1.ContainerStatus{runningAs(layout.SidecarContainer, 7000), runningAs(layout.RedirectContainer, 0)},
			ContainerStatuses:     []corev1.ContainerStatus{runningAs("agent", 1000)}}},
		"a container with our uid goes": {deleted: true, status: corev1.PodStatus{
			ContainerStatuses: []corev1.ContainerStatus{runningAs("agent", 7000)}}},
		"an init container too": {deleted: true, status: corev1.PodStatus{
			InitContainerStatuses: []corev1.ContainerStatus{runningAs(layout.SidecarContainer, 7000), runningAs("prepare", 7000)}}},
		"an ephemeral container too": {deleted: true, status: corev1.PodStatus{
			EphemeralContainerStatuses: []corev1.ContainerStatus{runningAs("debug", 7000)}}},
		"a kubelet that does not say is believed": {status: corev1.PodStatus{
			ContainerStatuses: []corev1.ContainerStatus{{Name: "agent"}}}},
	} {
		t.Run(name, func(t *testing.T) {
			pod := &corev1.Pod{
				ObjectMeta: metav1.ObjectMeta{Namespace: "agents", Name: "agent", UID: "u", Labels: map[string]string{layout.InjectedLabel: "1"}},
				Spec: corev1.PodSpec{InitContainers: []corev1.Container{
					{Name: layout.RedirectContainer},
					{Name: layout.SidecarContainer, SecurityContext: &corev1.SecurityContext{RunAsUser: ptr.To(int64(7000))}},
				}},
				Status: test.status,
			}
			c := fake.NewClientBuilder().WithObjects(pod).WithStatusSubresource(pod).Build()
			recorder := events.NewFakeRecorder(1)
			r := &Reconciler{Client: c, Events: recorder}
			if _, err := r.Reconcile(t.Context(), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(pod)}); err != nil {
				t.Fatal(err)
			}
			err := c.Get(t.Context(), client.ObjectKeyFromObject(pod), &corev1.Pod{})
			if gone := apierrors.IsNotFound(err); gone != test.deleted {
				t.Errorf("deleted: %t, want %t", gone, test.deleted)
			}
			if said := len(recorder.Events) == 1; said != test.deleted {
				t.Errorf("an event was made: %t, want %t", said, test.deleted)
			}
		})
	}
}
