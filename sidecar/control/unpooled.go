package control

import (
	"fmt"

	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
)

// unpooled is gRPC's codec for protobuf, but that it encodes into memory of the message's size: gRPC's own takes anything
// over 32 KiB, and so nearly every chunk of a recording, into a buffer of 1 MiB, which it keeps.
type unpooled struct{}

var _ encoding.CodecV2 = unpooled{}

const codecName = "proto"

func (unpooled) Name() string { return codecName }

func (unpooled) Marshal(v any) (mem.BufferSlice, error) {
	m, ok := v.(proto.Message)
	if !ok {
		return nil, fmt.Errorf("%T is not a protobuf message", v)
	}
	text, err := proto.Marshal(m)
	if err != nil {
		return nil, err
	}
	return mem.BufferSlice{mem.SliceBuffer(text)}, nil
}

func (unpooled) Unmarshal(data mem.BufferSlice, v any) error {
	return encoding.GetCodecV2(codecName).Unmarshal(data, v)
}
