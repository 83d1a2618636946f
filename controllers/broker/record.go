package broker

import (
	"context"
	"errors"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"k8s.io/apimachinery/pkg/types"

	"github.com/chaperone-dev/chaperone/controllers/archive"
	"github.com/chaperone-dev/chaperone/sidecar/control/controlpb"
	"github.com/chaperone-dev/chaperone/sidecar/record"
)

const (
	// batch is how many chunks that have arrived already share one signature.
	batch = 16
	// writeTimeout bounds one object's write.
	writeTimeout = 30 * time.Second
	// idleLog ends a stream on which nothing comes; a log is an hour long and a terminal's may be quiet for hours,
	// so the sidecar opens it again when it has something to say.
	idleLog = 2 * time.Hour
)

// Record implements the control stream: the chunks of one log, each acknowledged once it is durable.
func (b *Broker) Record(stream grpc.BidiStreamingServer[controlpb.RecordRequest, controlpb.RecordResponse]) error {
	ctx, cancel := context.WithCancelCause(stream.Context())
	defer cancel(nil)
	c := callerOf(ctx)
	release, err := c.recording.take(maxLogs, "logs open")
	if err != nil {
		return err
	}
	defer release()
	messages := read(ctx, stream)
	first, err := b.next(ctx, messages, firstMessage)
	if err != nil {
		return err
	}
	if first.GetOpen() == nil {
		return status.Error(codes.InvalidArgument, "the first message of a recording opens its log")
	}
	// One stream a log: a sidecar that has connected again takes it over from the connection that it lost.
	done, err := b.writers.enter(ctx, logKey{c.UID, first.GetOpen().GetLog()}, cancel)
	if err != nil {
		return err
	}
	defer done()
	r, err := b.open(ctx, c, first.GetOpen())
	if err != nil {
		return err
	}
	if err := stream.Send(&controlpb.RecordResponse{Next: r.log.Next(), Recording: r.key.Name}); err != nil {
		return err
	}
	for {
		m, err := b.next(ctx, messages, idleLog)
		if err == nil {
			err = b.take(ctx, c, r, m, messages, stream)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// take makes a chunk durable, and with it those that have arrived meanwhile, signs and acknowledges them.
func (b *Broker) take(ctx context.Context, c *caller, r *recording, m *controlpb.RecordRequest, messages <-chan received, stream grpc.BidiStreamingServer[controlpb.RecordRequest, controlpb.RecordResponse]) error {
	from := r.log.Next()
	var failure error
	for n := 0; m != nil; {
		if failure = b.store(ctx, c, r, m.GetChunk()); failure != nil {
			break
		}
		m = nil
		if n++; n < batch {
			select {
			case next := <-messages:
				m, failure = next.request, next.err
			default:
			}
		}
	}
	if r.log.Next() == from {
		return failure
	}
	wctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	if err := r.log.Sign(wctx, record.Recording); err != nil {
		return b.storage(ctx, c, err)
	}
	ended, _ := r.log.Chain().Ended()
	b.note(ctx, r, ended)
	for next := from + 1; next <= r.log.Next(); next++ {
		if err := stream.Send(&controlpb.RecordResponse{Next: next, Recording: r.key.Name}); err != nil {
			return err
		}
	}
	return failure
}

func (b *Broker) store(ctx context.Context, c *caller, r *recording, in *controlpb.RecordRequest_Chunk) error {
	if in == nil {
		return status.Error(codes.InvalidArgument, "a log is opened once")
	}
	if len(in.GetPayload()) > record.MaxPayload {
		return status.Errorf(codes.InvalidArgument, "a chunk of %d bytes; at most %d are allowed", len(in.GetPayload()), record.MaxPayload)
	}
	if err := errors.Join(c.chunks.Wait(ctx), c.bytes.WaitN(ctx, len(in.GetPayload()))); err != nil {
		return status.FromContextError(err).Err()
	}
	if in.GetNumber() < r.log.Next() {
		return nil // acknowledged before, on a connection that broke
	}
	chunk := &record.Chunk{
		Number: in.GetNumber(), Previous: in.GetPrevious(), Hash: in.GetHash(), Payload: in.GetPayload(),
		Counts: counts(in.GetCounts()), Last: in.GetLast(),
	}
	if !grows(r.log.Chain().Counts(), chunk.Counts) {
		return status.Error(codes.InvalidArgument, "a chunk's totals are less than those before it")
	}
	wctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	err := r.log.Append(wctx, chunk)
	switch {
	case errors.Is(err, archive.ErrTaken), errors.Is(err, record.ErrOrder):
		// Another replica was given more; opened again, the log goes on where it stands.
		return status.Error(codes.Aborted, err.Error())
	case errors.Is(err, archive.ErrFull), errors.Is(err, archive.ErrInvalid):
		// The protocol's word for what will not be taken however often it is sent.
		return status.Error(codes.InvalidArgument, err.Error())
	case err != nil:
		return b.storage(ctx, c, err)
	}
	return nil
}

// storage answers for the bucket, unless it is the sidecar that went away.
func (b *Broker) storage(ctx context.Context, c *caller, err error) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return status.FromContextError(ctx.Err()).Err()
	}
	b.Log.Error(err, "keeping a recording", "pod", c.Name())
	b.Presence.Recording(c.UID, "recordings could not be stored: "+err.Error())
	return status.Error(codes.Unavailable, "the recording could not be stored; try again")
}

// received is one message of the sidecar, or how the stream ended.
type received struct {
	request *controlpb.RecordRequest
	err     error
}

// read reads the stream ahead, by as much as a batch. The last message is how the stream ended.
func read(ctx context.Context, stream grpc.BidiStreamingServer[controlpb.RecordRequest, controlpb.RecordResponse]) <-chan received {
	out := make(chan received, batch)
	go func() {
		for {
			m, err := stream.Recv()
			select {
			case out <- received{m, err}:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	}()
	return out
}

func (b *Broker) next(ctx context.Context, messages <-chan received, within time.Duration) (*controlpb.RecordRequest, error) {
	timer := b.Clock.NewTimer(within)
	defer timer.Stop()
	select {
	case m := <-messages:
		return m.request, m.err
	case <-ctx.Done():
		if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
			return nil, cause
		}
		return nil, status.FromContextError(ctx.Err()).Err()
	case <-b.closing:
		return nil, status.Error(codes.Unavailable, "the operator restarts; connect again")
	case <-timer.C():
		return nil, status.Error(codes.DeadlineExceeded, "nothing was sent on this recording for too long")
	}
}

// recording is a log and the object that describes it.
type recording struct {
	log *archive.Log
	key types.NamespacedName
	uid types.UID
	// entry is what the index keeps.
	entry archive.Entry
}

func counts(c *controlpb.Counts) record.Counts {
	return record.Counts{
		Connections: c.GetConnections(), Commands: c.GetCommands(), Denied: c.GetDenied(), Approved: c.GetApproved(),
		Masked: c.GetMasked(), Rows: c.GetRows(), Bytes: c.GetBytes(),
	}
}

// grows tells whether totals only went up.
func grows(from, to record.Counts) bool {
	return to.Connections >= from.Connections && to.Commands >= from.Commands && to.Denied >= from.Denied &&
		to.Approved >= from.Approved && to.Masked >= from.Masked && to.Rows >= from.Rows && to.Bytes >= from.Bytes
}
