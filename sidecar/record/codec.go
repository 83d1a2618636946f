package record

import (
	"fmt"
	"sync"
	"time"

	"github.com/klauspost/compress/zstd"
)

// packing is the only encoder, which packs one text after another: it holds 0.5 MiB, which a pool has once for each
// processor.
var packing struct {
	mu      sync.Mutex // guards what follows
	encoder *zstd.Encoder
	used    time.Time
	idle    *time.Timer // frees the encoder
}

// idleTime is how long an encoder is kept that nobody uses, as an idle sidecar should be small.
const idleTime = 5 * time.Second

// buffers hold a chunk on its way to the disk, which keeps none of it; the garbage collector frees those that are idle.
var buffers = sync.Pool{New: func() any { return new(packed) }}

type packed struct{ payload, frame []byte }

// pack appends text to dst as a zstd frame.
func pack(dst, text []byte) ([]byte, error) {
	p := &packing
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.encoder == nil {
		e, err := zstd.NewWriter(nil,
			zstd.WithEncoderLevel(zstd.SpeedFastest),
			zstd.WithEncoderConcurrency(1),
			zstd.WithWindowSize(chunkSize/2), // a block's greatest size, which the encoder holds beside it
			zstd.WithLowerEncoderMem(true),
			zstd.WithEncoderCRC(false), // the chain's hash is stronger
		)
		if err != nil {
			return dst, fmt.Errorf("making a zstd encoder: %w", err)
		}
		p.encoder = e
		p.idle = time.AfterFunc(idleTime, restPacking)
	}
	p.used = time.Now()
	p.idle.Reset(idleTime)
	return p.encoder.EncodeAll(text, dst), nil
}

// restPacking frees an encoder that is idle.
func restPacking() {
	p := &packing
	p.mu.Lock()
	defer p.mu.Unlock()
	if time.Since(p.used) >= idleTime {
		p.encoder = nil
	}
}

var decoders = sync.Pool{New: func() any {
	d, err := zstd.NewReader(nil,
		zstd.WithDecoderConcurrency(1),
		zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxMemory(maxText), // what a chunk may unpack to, whatever its frame says
		zstd.WithDecoderMaxWindow(1<<20),
	)
	if err != nil {
		return fmt.Errorf("making a zstd decoder: %w", err)
	}
	return d
}}

// unpack appends the text of a payload to dst.
func unpack(dst, payload []byte) ([]byte, error) {
	if len(payload) > MaxPayload {
		return dst, fmt.Errorf("a payload of %d bytes, at most %d are allowed", len(payload), MaxPayload)
	}
	switch d := decoders.Get().(type) {
	case *zstd.Decoder:
		defer decoders.Put(d)
		out, err := d.DecodeAll(payload, dst)
		if err != nil {
			return dst, fmt.Errorf("unpacking a chunk: %w", err)
		}
		return out, nil
	case error:
		return dst, d
	}
	return dst, nil
}
