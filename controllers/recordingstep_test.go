package controllers

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
)

func TestRecordingStep(t *testing.T) {
	at := func(ago time.Duration) *metav1.Time { m := metav1.NewTime(noon.Add(-ago)); return &m }
	keep := func(d time.Duration) *metav1.Duration { return &metav1.Duration{Duration: d} }
	for name, c := range map[string]struct {
		spec    v1alpha1.SessionRecordingSpec
		status  v1alpha1.SessionRecordingStatus
		podGone bool
		want    step
		next    time.Duration
	}{
		"one that goes on is looked at again": {
			status: v1alpha1.SessionRecordingStatus{Phase: v1alpha1.RecordingRecording, LastWriteTime: at(time.Minute)},
			next:   5 * time.Minute,
		},
		"one whose pod has just gone may still have chunks under way": {
			status: v1alpha1.SessionRecordingStatus{Phase: v1alpha1.RecordingRecording, LastWriteTime: at(time.Minute)}, podGone: true,
			next: time.Minute,
		},
		"one whose pod is gone is closed": {
			status: v1alpha1.SessionRecordingStatus{Phase: v1alpha1.RecordingRecording, LastWriteTime: at(3 * time.Minute)}, podGone: true,
			want: stepClose,
		},
		"one that was filed and never written to is closed when its pod is gone": {
			podGone: true, want: stepClose,
		},
		"one whose sidecar has been silent for hours is closed": {
			status: v1alpha1.SessionRecordingStatus{Phase: v1alpha1.RecordingRecording, LastWriteTime: at(3 * time.Hour)},
			want:   stepClose,
		},
		"a terminal may be left open for hours": {
			spec:   v1alpha1.SessionRecordingSpec{Terminal: true},
			status: v1alpha1.SessionRecordingStatus{Phase: v1alpha1.RecordingRecording, LastWriteTime: at(3 * time.Hour)},
			next:   5 * time.Minute,
		},
		"a closed one is kept for as long as its policies say": {
			spec:   v1alpha1.SessionRecordingSpec{Retention: keep(48 * time.Hour)},
			status: v1alpha1.SessionRecordingStatus{Phase: v1alpha1.RecordingComplete, EndTime: at(47 * time.Hour)},
			next:   time.Hour,
		},
		"and then goes": {
			spec:   v1alpha1.SessionRecordingSpec{Retention: keep(48 * time.Hour)},
			status: v1alpha1.SessionRecordingStatus{Phase: v1alpha1.RecordingTruncated, EndTime: at(48 * time.Hour)},
			want:   stepExpire,
		},
		"the operator's floor counts where a policy says less": {
			spec:   v1alpha1.SessionRecordingSpec{Retention: keep(time.Minute)},
			status: v1alpha1.SessionRecordingStatus{Phase: v1alpha1.RecordingComplete, EndTime: at(23 * time.Hour)},
			next:   time.Hour,
		},
		"a legal hold keeps it whatever its age": {
			spec:   v1alpha1.SessionRecordingSpec{Retention: keep(time.Hour), LegalHold: true},
			status: v1alpha1.SessionRecordingStatus{Phase: v1alpha1.RecordingComplete, EndTime: at(10000 * time.Hour)},
		},
	} {
		t.Run(name, func(t *testing.T) {
			sr := &v1alpha1.SessionRecording{ObjectMeta: metav1.ObjectMeta{CreationTimestamp: *at(20000 * time.Hour)}, Spec: c.spec, Status: c.status}
			got, next := recordingStep(sr, c.podGone, 24*time.Hour, noon)
			if got != c.want || next != c.next {
				t.Errorf("got %v and %v, want %v and %v", got, next, c.want, c.next)
			}
		})
	}
}
