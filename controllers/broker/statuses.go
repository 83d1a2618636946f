package broker

import (
	"context"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"golang.org/x/time/rate"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
	"github.com/chaperone-dev/chaperone/controllers/apply"
	"github.com/chaperone-dev/chaperone/controllers/archive"
	"github.com/chaperone-dev/chaperone/sidecar/record"
)

const (
	// statusEvery is the least time between two writes of one recording's counts.
	statusEvery = 2 * time.Second
	// statusRate bounds the writes of all recordings together; under load each is written less often.
	statusRate  = 20
	statusBurst = 40
)

// statuses writes the counts of recordings that are going on.
type statuses struct {
	client client.Client
	log    logr.Logger
	limit  *rate.Limiter
	queue  workqueue.TypedDelayingInterface[types.NamespacedName]

	mu   sync.Mutex // guards what follows
	want map[types.NamespacedName]*wanted
}

type wanted struct {
	uid    types.UID
	status v1alpha1.SessionRecordingStatus
}

func newStatuses(c client.Client, clk clock.WithTicker, log logr.Logger) *statuses {
	return &statuses{
		client: c,
		log:    log,
		limit:  rate.NewLimiter(statusRate, statusBurst),
		queue:  workqueue.NewTypedDelayingQueueWithConfig(workqueue.TypedDelayingQueueConfig[types.NamespacedName]{Clock: clk, Name: "recording-status"}),
		want:   map[types.NamespacedName]*wanted{},
	}
}

// set says what the status shall be. Final ones are written at once.
func (s *statuses) set(key types.NamespacedName, uid types.UID, e *archive.Entry) {
	w := &wanted{uid: uid, status: statusOf(e)}
	s.mu.Lock()
	before := s.want[key]
	s.want[key] = w
	s.mu.Unlock()
	switch {
	case e.End != nil:
		s.queue.Add(key)
	case before == nil:
		s.queue.AddAfter(key, statusEvery)
	}
}

func statusOf(e *archive.Entry) v1alpha1.SessionRecordingStatus {
	last := metav1.NewTime(e.LastWrite)
	out := v1alpha1.SessionRecordingStatus{
		Phase:         v1alpha1.RecordingPhase(e.State),
		Counts:        v1alpha1.RecordingCounts(e.Counts),
		Chunks:        int64(e.Chunks),
		Digest:        e.Digest,
		LastWriteTime: &last,
	}
	if e.End != nil {
		end := metav1.NewTime(*e.End)
		out.EndTime = &end
	}
	return out
}

// run writes until ctx ends, and then what is still wanted.
func (s *statuses) run(ctx context.Context) {
	stop := context.AfterFunc(ctx, s.queue.ShutDown)
	defer stop()
	for {
		key, shutdown := s.queue.Get()
		if shutdown {
			s.flush(context.WithoutCancel(ctx))
			return
		}
		if err := s.limit.Wait(ctx); err == nil {
			s.write(ctx, key)
		}
		s.queue.Done(key)
	}
}

func (s *statuses) flush(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	s.mu.Lock()
	keys := make([]types.NamespacedName, 0, len(s.want))
	for key := range s.want {
		keys = append(keys, key)
	}
	s.mu.Unlock()
	for _, key := range keys {
		s.write(ctx, key)
	}
}

func (s *statuses) write(ctx context.Context, key types.NamespacedName) {
	s.mu.Lock()
	w := s.want[key]
	delete(s.want, key)
	s.mu.Unlock()
	if w == nil {
		return
	}
	sr := &v1alpha1.SessionRecording{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name, UID: w.uid}, Status: w.status}
	err := apply.Status(ctx, s.client, sr, apply.RecordingOwner)
	switch {
	case err == nil, apierrors.IsNotFound(err):
		// One that somebody deleted stays deleted; the bytes and the index go on.
	case w.status.Phase != v1alpha1.RecordingPhase(record.Recording):
		// A final status is worth another try; counts come again with the next chunk.
		s.log.Error(err, "writing a recording's final status", "recording", key)
		s.mu.Lock()
		if s.want[key] == nil {
			s.want[key] = w
		}
		s.mu.Unlock()
		s.queue.AddAfter(key, 5*statusEvery)
	default:
		s.log.Error(err, "writing a recording's counts", "recording", key)
	}
}
