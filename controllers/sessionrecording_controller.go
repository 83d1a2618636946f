package controllers

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
	"github.com/chaperone-dev/chaperone/controllers/apply"
	"github.com/chaperone-dev/chaperone/controllers/archive"
	"github.com/chaperone-dev/chaperone/sidecar/record"
)

// +kubebuilder:rbac:groups=chaperone.dev,resources=sessionrecordings,verbs=get;list;watch;delete
// +kubebuilder:rbac:groups=chaperone.dev,resources=sessionrecordings/status,verbs=get;update;patch

const (
	// ConditionComplete says of a recording that is closed whether its sidecar closed it.
	ConditionComplete = "Complete"

	// orphanAfter is how long a log may be without a write once its pod, and with it the spool, is gone.
	orphanAfter = 2 * time.Minute
	// silentAfter is the same for a pod that still runs: its sidecar ends a log after an hour, and may then have no
	// way to the operator for a while. One that comes back goes on where it was.
	silentAfter = 150 * time.Minute
	// terminalSilentAfter allows for a terminal that somebody leaves open overnight.
	terminalSilentAfter = 26 * time.Hour
)

// SessionRecordingReconciler closes recordings whose sidecar will not, and deletes bytes whose retention is over. It
// alone deletes bytes.
type SessionRecordingReconciler struct {
	Client  client.Client
	Archive *archive.Archive
	// Floor is the least retention, whatever the policies said.
	Floor  time.Duration
	Events events.EventRecorder
	Clock  clock.PassiveClock

	held sync.Map // uid to the legal hold that the index has, for recordings that go on
}

// Reconcile implements reconcile.Reconciler.
func (r *SessionRecordingReconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	sr := &v1alpha1.SessionRecording{}
	if err := r.Client.Get(ctx, req.NamespacedName, sr); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	gone, err := podGone(ctx, r.Client, types.NamespacedName{Namespace: sr.Namespace, Name: sr.Spec.Pod.Name}, sr.Spec.Pod.UID)
	if err != nil {
		return ctrl.Result{}, err
	}
	step, next := recordingStep(sr, gone, r.Floor, r.Clock.Now())
	switch step {
	case stepClose:
		err = r.close(ctx, sr, gone)
	case stepExpire:
		err = r.expire(ctx, sr)
	case stepNone:
		err = r.hold(ctx, sr)
	}
	return ctrl.Result{RequeueAfter: next}, err
}

// step is what a recording needs now.
type step int

const (
	stepNone step = iota
	stepClose
	stepExpire
)

// recordingStep decides what a recording needs, and after which time to look again. It has no side effects.
func recordingStep(sr *v1alpha1.SessionRecording, podGone bool, floor time.Duration, now time.Time) (step, time.Duration) {
	var due time.Time
	var then step
	switch sr.Status.Phase {
	case "", v1alpha1.RecordingRecording:
		then = stepClose
		last := sr.CreationTimestamp.Time
		if sr.Status.LastWriteTime != nil {
			last = sr.Status.LastWriteTime.Time
		}
		switch {
		case podGone:
			due = last.Add(orphanAfter)
		case sr.Spec.Terminal:
			due = last.Add(terminalSilentAfter)
		default:
			due = last.Add(silentAfter)
		}
		if now.Before(due) {
			// A pod that ends meanwhile is no event of the recording's.
			return stepNone, min(due.Sub(now), 5*time.Minute)
		}
	default:
		then = stepExpire
		if sr.Spec.LegalHold {
			return stepNone, 0
		}
		retention := floor
		if sr.Spec.Retention != nil {
			retention = max(retention, sr.Spec.Retention.Duration)
		}
		end := sr.CreationTimestamp.Time
		if sr.Status.EndTime != nil {
			end = sr.Status.EndTime.Time
		}
		due = end.Add(retention)
		if now.Before(due) {
			return stepNone, due.Sub(now)
		}
	}
	return then, 0
}

// close signs what is there and says what is missing.
func (r *SessionRecordingReconciler) close(ctx context.Context, sr *v1alpha1.SessionRecording, podGone bool) error {
	head, chain, err := r.Archive.CloseLog(ctx, sr.Namespace, string(sr.Spec.Pod.UID), sr.Spec.Log)
	if err != nil {
		return fmt.Errorf("closing recording %s/%s: %w", sr.Namespace, sr.Name, err)
	}
	now := r.Clock.Now()
	end := metav1.NewTime(now)
	sr.Status = v1alpha1.SessionRecordingStatus{
		Phase: v1alpha1.RecordingPhase(head.State), Counts: v1alpha1.RecordingCounts(chain.Counts()), Chunks: int64(head.Chunks),
		Digest: head.Hash, LastWriteTime: sr.Status.LastWriteTime, EndTime: &end, Conditions: sr.Status.Conditions,
		ObservedGeneration: sr.Generation,
	}
	condition := metav1.Condition{
		Type: ConditionComplete, Status: metav1.ConditionFalse, Reason: string(head.State), Message: closing(head, podGone),
		ObservedGeneration: sr.Generation, LastTransitionTime: end,
	}
	if head.State == record.Complete {
		condition.Status = metav1.ConditionTrue
	}
	meta.SetStatusCondition(&sr.Status.Conditions, condition)
	if err := r.index(ctx, sr, now); err != nil {
		return err
	}
	if err := apply.Status(ctx, r.Client, sr, apply.RecordingOwner); err != nil {
		return client.IgnoreNotFound(err)
	}
	if head.State != record.Complete {
		r.Events.Eventf(sr, nil, corev1.EventTypeWarning, "Recording"+string(head.State), "Close", "%s", condition.Message)
	}
	return nil
}

func closing(head record.Head, podGone bool) string {
	why := "its pod is gone"
	if !podGone {
		why = "its sidecar has been silent for too long"
	}
	switch head.State {
	case record.Complete:
		return "the sidecar closed the log"
	case record.Lost:
		return "nothing of the log reached the operator, and " + why
	}
	return fmt.Sprintf("the log ends after %d chunks without having been closed, and %s; what is there verifies", head.Chunks, why)
}

// index brings the entry that outlives the object up to date.
func (r *SessionRecordingReconciler) index(ctx context.Context, sr *v1alpha1.SessionRecording, now time.Time) error {
	e, err := r.Archive.Entry(ctx, sr.Namespace, sr.Name)
	if errors.Is(err, archive.ErrNotFound) {
		e = &archive.Entry{Meta: record.Meta{
			Log: sr.Spec.Log, Target: sr.Spec.Target, Protocol: sr.Spec.Protocol, Policies: sr.Spec.Policies, Start: sr.Spec.StartTime.Time,
			Terminal: sr.Spec.Terminal, Recording: sr.Name, Namespace: sr.Namespace, Pod: sr.Spec.Pod.Name,
			PodUID: string(sr.Spec.Pod.UID), ServiceAccount: sr.Spec.Pod.ServiceAccount,
		}}
		err = nil
	}
	if err != nil {
		return err
	}
	e.State, e.Counts, e.Chunks, e.Digest = record.State(sr.Status.Phase), record.Counts(sr.Status.Counts), uint64(sr.Status.Chunks), sr.Status.Digest
	e.LegalHold = sr.Spec.LegalHold
	if sr.Spec.Retention != nil {
		e.RetentionSeconds = int64(sr.Spec.Retention.Duration / time.Second)
	}
	if sr.Status.EndTime != nil {
		e.End = &sr.Status.EndTime.Time
	} else {
		e.LastWrite = now
	}
	return r.Archive.PutEntry(ctx, e)
}

// hold keeps the index in step with the legal hold, which has to stand when the object is deleted.
func (r *SessionRecordingReconciler) hold(ctx context.Context, sr *v1alpha1.SessionRecording) error {
	if sr.Generation == 1 {
		return nil // nobody has touched it since it was filed
	}
	goesOn := sr.Status.Phase == v1alpha1.RecordingRecording || sr.Status.Phase == ""
	if known, ok := r.held.Load(sr.UID); ok && goesOn && known == sr.Spec.LegalHold {
		return nil
	}
	e, err := r.Archive.Entry(ctx, sr.Namespace, sr.Name)
	if errors.Is(err, archive.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if e.LegalHold != sr.Spec.LegalHold {
		e.LegalHold = sr.Spec.LegalHold
		if err := r.Archive.PutEntry(ctx, e); err != nil {
			return err
		}
	}
	if goesOn {
		r.held.Store(sr.UID, sr.Spec.LegalHold)
	} else {
		r.held.Delete(sr.UID)
	}
	return nil
}

// expire deletes the bytes, notes it in the index, and then deletes the object.
func (r *SessionRecordingReconciler) expire(ctx context.Context, sr *v1alpha1.SessionRecording) error {
	if err := expire(ctx, r.Archive, sr.Namespace, sr.Name, string(sr.Spec.Pod.UID), sr.Spec.Log, r.Clock.Now()); err != nil {
		return err
	}
	return client.IgnoreNotFound(r.Client.Delete(ctx, sr, client.Preconditions{UID: &sr.UID}))
}

func expire(ctx context.Context, a *archive.Archive, namespace, name, podUID, log string, now time.Time) error {
	if err := a.Delete(ctx, namespace, podUID, log); err != nil {
		return fmt.Errorf("deleting the bytes of recording %s/%s: %w", namespace, name, err)
	}
	e, err := a.Entry(ctx, namespace, name)
	if errors.Is(err, archive.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	e.BytesDeleted = &now
	return a.PutEntry(ctx, e)
}

// podGone tells whether nothing more can come from the pod.
func podGone(ctx context.Context, c client.Reader, name types.NamespacedName, uid types.UID) (bool, error) {
	pod := &corev1.Pod{}
	err := c.Get(ctx, name, pod)
	if apierrors.IsNotFound(err) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("reading pod %s: %w", name, err)
	}
	return pod.UID != uid || pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed, nil
}
