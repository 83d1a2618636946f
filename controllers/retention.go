package controllers

import (
	"context"
	"time"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
	"github.com/chaperone-dev/chaperone/controllers/archive"
	"github.com/chaperone-dev/chaperone/sidecar/record"
)

// sweepEvery is how late bytes without an object are deleted.
const sweepEvery = time.Hour

// Retention looks after the bytes whose SessionRecording was deleted, alone or with its namespace: deleting an object
// never deletes bytes, so the index says when they may go.
type Retention struct {
	Client  client.Client
	Archive *archive.Archive
	// Floor is the least retention.
	Floor time.Duration
	Clock clock.WithTicker
	Log   logr.Logger
}

// NeedLeaderElection says that one replica does this.
func (r *Retention) NeedLeaderElection() bool { return true }

// Start sweeps until ctx ends.
func (r *Retention) Start(ctx context.Context) error {
	tick := r.Clock.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		r.Sweep(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C():
		}
	}
}

// Sweep goes through the index once. What fails is logged and met again the next time.
func (r *Retention) Sweep(ctx context.Context) {
	for e, err := range r.Archive.Entries(ctx) {
		if err == nil && e.BytesDeleted == nil {
			err = r.look(ctx, e)
		}
		if err != nil && ctx.Err() == nil {
			r.Log.Error(err, "looking after recordings without an object")
		}
	}
}

func (r *Retention) look(ctx context.Context, e *archive.Entry) error {
	sr := &v1alpha1.SessionRecording{}
	err := r.Client.Get(ctx, types.NamespacedName{Namespace: e.Namespace, Name: e.Recording}, sr)
	if err == nil && sr.Spec.Log == e.Log {
		return nil // its reconciler looks after it
	}
	if err != nil && !apierrors.IsNotFound(err) {
		return err
	}
	now := r.Clock.Now()
	if e.State == record.Recording && now.After(e.LastWrite.Add(silentAfter)) {
		head, chain, err := r.Archive.CloseLog(ctx, e.Namespace, e.PodUID, e.Log)
		if err != nil {
			return err
		}
		e.State, e.Chunks, e.Digest, e.Counts, e.End = head.State, head.Chunks, head.Hash, chain.Counts(), &now
		return r.Archive.PutEntry(ctx, e)
	}
	if e.State == record.Recording || e.LegalHold || now.Before(e.Expires(r.Floor)) {
		return nil
	}
	r.Log.Info("deleting a recording whose retention is over", "namespace", e.Namespace, "recording", e.Recording, "log", e.Log)
	return expire(ctx, r.Archive, e.Namespace, e.Recording, e.PodUID, e.Log, now)
}
