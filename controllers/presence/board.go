package presence

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	// publishEvery bounds how late another replica's counts are, and how often a replica writes.
	publishEvery = 5 * time.Second
	// heartbeat is how often a replica writes when nothing has changed; a board that is three heartbeats old
	// belongs to a replica that is gone.
	heartbeat = 30 * time.Second
	stale     = 3 * heartbeat

	// boardLabel marks the ConfigMaps.
	boardLabel = "chaperone.dev/presence"
	boardKey   = "sidecars.json.gz"
	timeKey    = "written"
	// maxBoard is what a ConfigMap can hold (1 MiB in all); some 20,000 sidecars fit.
	maxBoard = 1000 << 10
	// maxUnpacked bounds what another replica's board may unpack to.
	maxUnpacked = 64 << 20
)

// +kubebuilder:rbac:groups="",resources=configmaps,namespace=chaperone-system,verbs=get;list;create;update;delete

// Board joins the registries of all replicas.
type Board struct {
	Registry *Registry
	// Client must not cache.
	Client    client.Client
	Namespace string
	// Replica is this replica's own name, unique among them.
	Replica string
	// Alone is set where only one replica runs: nothing is published and nobody else is asked.
	Alone bool
	Clock clock.WithTicker
	Log   logr.Logger

	written   uint64
	writtenAt time.Time
}

// NeedLeaderElection says that every replica publishes.
func (b *Board) NeedLeaderElection() bool { return false }

// Start publishes until ctx ends, then takes the board down.
func (b *Board) Start(ctx context.Context) error {
	if b.Alone {
		<-ctx.Done()
		return nil
	}
	tick := b.Clock.NewTicker(publishEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: b.Namespace, Name: b.name()}}
			return client.IgnoreNotFound(b.Client.Delete(last, cm))
		case <-tick.C():
			if err := b.Publish(ctx); err != nil {
				b.Log.Error(err, "publishing which sidecars are connected")
			}
		}
	}
}

// Publish writes this replica's board if it has changed or is due.
func (b *Board) Publish(ctx context.Context) error {
	sidecars, version := b.Registry.Sidecars()
	now := b.Clock.Now()
	if version == b.written && now.Sub(b.writtenAt) < heartbeat {
		return nil
	}
	packed, err := pack(sidecars)
	if err != nil {
		return err
	}
	cm := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: b.Namespace, Name: b.name(), Labels: map[string]string{boardLabel: "true"}},
		Data:       map[string]string{timeKey: now.UTC().Format(time.RFC3339)},
		BinaryData: map[string][]byte{boardKey: packed},
	}
	err = b.Client.Update(ctx, cm)
	if apierrors.IsNotFound(err) {
		err = b.Client.Create(ctx, cm)
	}
	if err != nil {
		return fmt.Errorf("writing configmap %s/%s: %w", b.Namespace, b.name(), err)
	}
	b.written, b.writtenAt = version, now
	return nil
}

// Sidecars returns what all replicas know, by pod uid. Of two replicas that both know a sidecar the one that has it
// connected counts, else the one that saw it last. Boards of replicas that are gone are deleted.
func (b *Board) Sidecars(ctx context.Context) (map[types.UID]Sidecar, error) {
	out, _ := b.Registry.Sidecars()
	if b.Alone {
		return out, nil
	}
	list := &corev1.ConfigMapList{}
	if err := b.Client.List(ctx, list, client.InNamespace(b.Namespace), client.HasLabels{boardLabel}); err != nil {
		return nil, fmt.Errorf("listing the boards of other replicas: %w", err)
	}
	for i := range list.Items {
		cm := &list.Items[i]
		if cm.Name == b.name() {
			continue
		}
		written, err := time.Parse(time.RFC3339, cm.Data[timeKey])
		if err != nil || b.Clock.Since(written) > stale {
			if err := b.Client.Delete(ctx, cm); client.IgnoreNotFound(err) != nil {
				return nil, fmt.Errorf("deleting the board of a replica that is gone: %w", err)
			}
			continue
		}
		theirs, err := unpack(cm.BinaryData[boardKey])
		if err != nil {
			return nil, fmt.Errorf("configmap %s/%s: %w", cm.Namespace, cm.Name, err)
		}
		for uid, s := range theirs {
			if mine, known := out[uid]; !known || s.Connected && !mine.Connected || s.Connected == mine.Connected && s.Seen.After(mine.Seen) {
				out[uid] = s
			}
		}
	}
	return out, nil
}

func (b *Board) name() string { return "chaperone-sidecars-" + b.Replica }

func pack(sidecars map[types.UID]Sidecar) ([]byte, error) {
	var buf bytes.Buffer
	z := gzip.NewWriter(&buf)
	if err := json.NewEncoder(z).Encode(sidecars); err != nil {
		return nil, fmt.Errorf("encoding a board: %w", err)
	}
	if err := z.Close(); err != nil {
		return nil, fmt.Errorf("encoding a board: %w", err)
	}
	if buf.Len() > maxBoard {
		return nil, fmt.Errorf("%d sidecars do not fit into a board; run more replicas", len(sidecars))
	}
	return buf.Bytes(), nil
}

func unpack(packed []byte) (map[types.UID]Sidecar, error) {
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, fmt.Errorf("decoding a board: %w", err)
	}
	var out map[types.UID]Sidecar
	if err := json.NewDecoder(io.LimitReader(z, maxUnpacked)).Decode(&out); err != nil {
		return nil, fmt.Errorf("decoding a board: %w", err)
	}
	return out, nil
}
