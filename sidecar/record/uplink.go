package record

import "context"

// Uplink takes logs to the operator.
type Uplink interface {
	// Open begins or continues a log. The first acknowledgement on the stream says which chunk is wanted next.
	// The stream ends with ctx.
	Open(ctx context.Context, meta Meta) (Stream, error)
}

// Stream carries the chunks of one log. One goroutine may send while another receives.
type Stream interface {
	// Send sends a chunk; it may return before the chunk has arrived. The chunk's slices are not kept.
	Send(Chunk) error
	// Recv waits for the next acknowledgement: every chunk below next is durable; recording is the
	// SessionRecording's name. It returns io.EOF when the operator has ended the stream.
	Recv() (next uint64, recording string, err error)
	// Close says that nothing more is sent and frees the stream.
	Close() error
}
