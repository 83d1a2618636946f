package control

import (
	"context"
	"errors"
	"fmt"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/chaperone-dev/chaperone/sidecar/control/controlpb"
	"github.com/chaperone-dev/chaperone/sidecar/record"
)

var _ record.Uplink = (*Client)(nil)

// Open begins or continues a log at the broker.
func (c *Client) Open(ctx context.Context, meta record.Meta) (record.Stream, error) {
	ctx, cancel := context.WithCancel(ctx)
	stream, err := c.broker.Record(ctx, grpc.ForceCodecV2(unpooled{}))
	if err == nil {
		err = stream.Send(&controlpb.RecordRequest{Message: &controlpb.RecordRequest_Open_{Open: &controlpb.RecordRequest_Open{
			Log: meta.Log, Target: meta.Target, Protocol: meta.Protocol, Policies: meta.Policies,
			StartUnixMs: meta.Start.UnixMilli(), Terminal: meta.Terminal, User: meta.User,
		}}})
	}
	if errors.Is(err, io.EOF) {
		// The stream is over already; only Recv says why.
		_, err = stream.Recv()
	}
	if err != nil {
		cancel()
		return nil, fmt.Errorf("opening log %s at the operator: %w", meta.Log, said(err))
	}
	return &logStream{stream: stream, cancel: cancel}, nil
}

// logStream carries one log's chunks.
type logStream struct {
	stream grpc.BidiStreamingClient[controlpb.RecordRequest, controlpb.RecordResponse]
	cancel context.CancelFunc
}

// Send returns io.EOF when the stream is over; Recv says why.
func (s *logStream) Send(c record.Chunk) error {
	return s.stream.Send(&controlpb.RecordRequest{Message: &controlpb.RecordRequest_Chunk_{Chunk: &controlpb.RecordRequest_Chunk{
		Number: c.Number, Previous: c.Previous, Hash: c.Hash, Payload: c.Payload, Last: c.Last,
		Counts: &controlpb.Counts{
			Connections: c.Counts.Connections, Commands: c.Counts.Commands, Denied: c.Counts.Denied,
			Approved: c.Counts.Approved, Masked: c.Counts.Masked, Rows: c.Counts.Rows, Bytes: c.Counts.Bytes,
		},
	}}})
}

func (s *logStream) Recv() (uint64, string, error) {
	r, err := s.stream.Recv()
	switch {
	case errors.Is(err, io.EOF):
		return 0, "", io.EOF
	case err != nil:
		return 0, "", fmt.Errorf("sending the recording to the operator: %w", said(err))
	}
	return r.GetNext(), r.GetRecording(), nil
}

// said is what the operator said. InvalidArgument is its word for a log or a chunk that it will never take.
func said(err error) error {
	if status.Code(err) == codes.InvalidArgument {
		return fmt.Errorf("%w: %s", record.ErrRefused, words(err))
	}
	return errors.New(words(err))
}

func (s *logStream) Close() error {
	err := s.stream.CloseSend()
	s.cancel()
	return err
}
