package control

import (
	"bytes"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/chaperone-dev/chaperone/sidecar/control/controlpb"
)

func TestAChunkIsEncodedIntoNoMoreMemoryThanItTakes(t *testing.T) {
	payload := bytes.Repeat([]byte{1, 2, 3, 4}, 10<<10) // over the 32 KiB from which gRPC's pool gives 1 MiB
	chunk := &controlpb.RecordRequest{Message: &controlpb.RecordRequest_Chunk_{Chunk: &controlpb.RecordRequest_Chunk{Payload: payload}}}
	data, err := unpooled{}.Marshal(chunk)
	if err != nil {
		t.Fatal(err)
	}
	text := data[0].ReadOnlyData()
	if len(data) != 1 || cap(text) > 2*len(payload) {
		t.Errorf("a message with %d bytes takes %d buffers, the first of %d", len(payload), len(data), cap(text))
	}
	got := new(controlpb.RecordRequest)
	if err := (unpooled{}).Unmarshal(data, got); err != nil || !proto.Equal(got, chunk) {
		t.Errorf("what is decoded is not what was encoded, %v", err)
	}
}
