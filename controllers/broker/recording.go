package broker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
	"github.com/chaperone-dev/chaperone/controllers/archive"
	"github.com/chaperone-dev/chaperone/controllers/naming"
	"github.com/chaperone-dev/chaperone/sidecar/control/controlpb"
	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/record"
)

const (
	openTimeout = 30 * time.Second
	maxUser     = 128
	maxPolicies = 64
	// maxAhead is how far a sidecar's clock may be ahead of the operator's.
	maxAhead = 5 * time.Minute
	// defaultRetention is AgentPolicy's, for a log whose policies are gone.
	defaultRetention = 720 * time.Hour
)

// open begins or continues a log and its SessionRecording.
func (b *Broker) open(ctx context.Context, c *caller, in *controlpb.RecordRequest_Open) (*recording, error) {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	sr, err := b.describe(ctx, c, in)
	if err != nil {
		return nil, err
	}
	there := &v1alpha1.SessionRecording{}
	err = b.Live.Get(ctx, client.ObjectKeyFromObject(sr), there)
	if apierrors.IsNotFound(err) {
		if !c.logs.Allow() {
			return nil, status.Error(codes.ResourceExhausted, "this pod opens too many logs; try again in a minute")
		}
		there = sr
		err = b.Client.Create(ctx, there)
		if apierrors.IsAlreadyExists(err) {
			there = &v1alpha1.SessionRecording{}
			err = b.Live.Get(ctx, client.ObjectKeyFromObject(sr), there)
		}
		if err != nil {
			b.unrecorded(ctx, c, sr, err)
			return nil, refused("filing the recording", err)
		}
	}
	if err != nil {
		return nil, unavailable("reading the recording", err)
	}
	if there.Spec.Log != sr.Spec.Log || there.Spec.Pod.UID != c.UID {
		return nil, status.Errorf(codes.PermissionDenied, "recording %s belongs to another log", there.Name)
	}
	log, err := b.Archive.Begin(ctx, logMeta(there, in.GetUser()))
	if err != nil {
		return nil, b.storage(ctx, c, err)
	}
	r := &recording{log: log, key: client.ObjectKeyFromObject(there), uid: there.UID}
	r.entry = archive.Entry{
		Meta: log.Meta(), Node: there.Spec.Pod.Node, Owner: there.Spec.Pod.Owner,
		State: record.Recording, LastWrite: b.Clock.Now(), LegalHold: there.Spec.LegalHold,
		RetentionSeconds: int64(there.Spec.Retention.Duration / time.Second),
	}
	if err := b.Archive.PutEntry(ctx, &r.entry); err != nil {
		return nil, b.storage(ctx, c, err)
	}
	b.Presence.Recording(c.UID, "")
	ended, _ := log.Chain().Ended()
	b.note(ctx, r, ended)
	return r, nil
}

// describe makes the object of what the sidecar says and what the operator knows better.
func (b *Broker) describe(ctx context.Context, c *caller, in *controlpb.RecordRequest_Open) (*v1alpha1.SessionRecording, error) {
	switch {
	case !record.ValidLogID(in.GetLog()):
		return nil, status.Error(codes.InvalidArgument, "the log's name is not 32 hexadecimal digits")
	case !naming.Target(in.GetTarget()):
		return nil, status.Error(codes.InvalidArgument, "the log's target is not a target's name")
	}
	switch policy.Protocol(in.GetProtocol()) {
	case policy.ProtocolPostgres, policy.ProtocolSSH, policy.ProtocolKubernetes, record.EgressProtocol:
	default:
		return nil, status.Error(codes.InvalidArgument, "the log's protocol is unknown")
	}
	policies, retention := b.recordedPolicies(ctx, c, in.GetPolicies())
	start := b.started(c.pod, in.GetStartUnixMs())
	return &v1alpha1.SessionRecording{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: c.Namespace,
			Name:      naming.Recording(c.Pod, in.GetTarget(), start, in.GetLog()),
			Labels:    map[string]string{LabelPodUID: string(c.UID), LabelTarget: naming.Label(in.GetTarget())},
		},
		Spec: v1alpha1.SessionRecordingSpec{
			Log: in.GetLog(),
			Pod: v1alpha1.RecordedPod{
				Name: c.Pod, UID: c.UID, ServiceAccount: c.ServiceAccount, Node: c.pod.Spec.NodeName,
				Owner: b.owners.of(ctx, c.pod),
			},
			Target:    in.GetTarget(),
			Protocol:  in.GetProtocol(),
			Policies:  policies,
			StartTime: metav1.NewMicroTime(start),
			Terminal:  in.GetTerminal(),
			Retention: &metav1.Duration{Duration: retention},
		},
	}, nil
}

// recordedPolicies keeps what can be the names of this namespace's policies, and returns the longest retention of
// those that exist.
func (b *Broker) recordedPolicies(ctx context.Context, c *caller, claimed []string) (names []string, retention time.Duration) {
	for _, full := range claimed[:min(len(claimed), maxPolicies)] {
		name, ok := strings.CutPrefix(full, c.Namespace+"/")
		if !ok || len(name) > 253 || name == "" || naming.Escape(name, 253) != name {
			continue
		}
		names = append(names, name)
		ap := &v1alpha1.AgentPolicy{}
		if err := b.Client.Get(ctx, types.NamespacedName{Namespace: c.Namespace, Name: name}, ap); err == nil && ap.Spec.Recording.Retention != nil {
			retention = max(retention, ap.Spec.Recording.Retention.Duration)
		}
	}
	if retention <= 0 {
		retention = defaultRetention
	}
	return names, retention
}

// started keeps a log's start within the pod's life. Milliseconds are what the sidecar says, so that the name of a
// log that is opened again is the same.
func (b *Broker) started(pod *corev1.Pod, ms int64) time.Time {
	start := time.UnixMilli(ms).UTC()
	if created := pod.CreationTimestamp.UTC(); start.Before(created) || start.After(b.Clock.Now().Add(maxAhead)) {
		return created
	}
	return start
}

func logMeta(sr *v1alpha1.SessionRecording, user string) record.Meta {
	return record.Meta{
		Log: sr.Spec.Log, Target: sr.Spec.Target, Protocol: sr.Spec.Protocol, Policies: sr.Spec.Policies,
		Start: sr.Spec.StartTime.UTC(), Terminal: sr.Spec.Terminal, User: naming.Escape(user, maxUser),
		Recording: sr.Name, Namespace: sr.Namespace, Pod: sr.Spec.Pod.Name, PodUID: string(sr.Spec.Pod.UID),
		ServiceAccount: sr.Spec.Pod.ServiceAccount,
	}
}

// note brings object and index up to date. What is final is written now, what goes on a little later.
func (b *Broker) note(ctx context.Context, r *recording, ended bool) {
	chain := r.log.Chain()
	now := b.Clock.Now()
	head := chain.Head(r.entry.Log)
	r.entry.State, r.entry.Counts, r.entry.Chunks, r.entry.Digest, r.entry.LastWrite = head.State, chain.Counts(), head.Chunks, head.Hash, now
	if ended {
		if r.entry.End == nil {
			r.entry.End = &now
		}
		there := &v1alpha1.SessionRecording{}
		if err := b.Live.Get(ctx, r.key, there); err == nil {
			r.entry.LegalHold = there.Spec.LegalHold
		}
		if err := b.Archive.PutEntry(ctx, &r.entry); err != nil {
			b.Log.Error(err, "bringing the index up to date", "recording", r.key)
		}
	}
	b.statuses.set(r.key, r.uid, &r.entry)
}

// unrecorded says on the pod and its policies that a recording could not be filed, which a quota may be the cause of.
func (b *Broker) unrecorded(ctx context.Context, c *caller, sr *v1alpha1.SessionRecording, err error) {
	if apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
		return // pods, policies and events of it are going too
	}
	b.Presence.Recording(c.UID, fmt.Sprintf("the recording of target %s could not be filed: %v", sr.Spec.Target, err))
	b.Log.Error(err, "filing a recording", "pod", c.Name(), "recording", sr.Name)
	note := fmt.Sprintf("the recording of target %s could not be filed: %v", sr.Spec.Target, err)
	b.Events.Eventf(c.pod, nil, corev1.EventTypeWarning, "NotRecorded", "Record", "%s", naming.Note(note))
	for _, name := range sr.Spec.Policies {
		ap := &v1alpha1.AgentPolicy{}
		if b.Client.Get(ctx, types.NamespacedName{Namespace: c.Namespace, Name: name}, ap) == nil {
			b.Events.Eventf(ap, c.pod, corev1.EventTypeWarning, "NotRecorded", "Record", "%s", naming.Note("pod "+c.Pod+": "+note))
		}
	}
}

// refused passes on what the API server, a quota or another webhook has against an object of ours.
func refused(what string, err error) error {
	var is apierrors.APIStatus
	if errors.As(err, &is) && (apierrors.IsForbidden(err) || apierrors.IsInvalid(err) || apierrors.IsBadRequest(err)) {
		return status.Errorf(codes.FailedPrecondition, "%s: %v", what, err)
	}
	return unavailable(what, err)
}
