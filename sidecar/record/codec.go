package record

import (
	"fmt"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// encoders hold 0.5 MiB each; they are made at the first chunk and the garbage collector frees those that are idle,
// as an idle sidecar should be small.
var encoders = sync.Pool{New: func() any {
	e, err := zstd.NewWriter(nil,
		zstd.WithEncoderLevel(zstd.SpeedFastest),
		zstd.WithEncoderConcurrency(1),
		zstd.WithWindowSize(chunkSize),
		zstd.WithLowerEncoderMem(true),
		zstd.WithEncoderCRC(false), // the chain's hash is stronger
	)
	if err != nil {
		return fmt.Errorf("making a zstd encoder: %w", err)
	}
	return e
}}

// buffers hold a chunk on its way to the disk, which keeps none of it; the garbage collector frees those that are idle.
var buffers = sync.Pool{New: func() any { return new(packed) }}

type packed struct{ payload, frame []byte }

// pack appends text to dst as a zstd frame.
func pack(dst, text []byte) ([]byte, error) {
	switch e := encoders.Get().(type) {
	case *zstd.Encoder:
		defer encoders.Put(e)
		return e.EncodeAll(text, dst), nil
	case error:
		return dst, e
	}
	return dst, nil
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
