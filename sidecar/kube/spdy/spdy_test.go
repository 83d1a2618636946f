package spdy

import (
	"bufio"
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"io"
	"net/http"
	"testing"

	reference "github.com/moby/spdystream/spdy"
)

// The frames of the library that Kubernetes' clients and servers use are read here as they were meant.
func TestFramesOfTheReferenceAreRead(t *testing.T) {
	var wire bytes.Buffer
	peer, err := reference.NewFramer(&wire, bytes.NewReader(nil))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []reference.Frame{
		&reference.SynStreamFrame{StreamId: 1, Priority: 3, Headers: http.Header{"Streamtype": {"stdin"}}},
		&reference.SynReplyFrame{StreamId: 1, Headers: http.Header{}},
		&reference.SynStreamFrame{StreamId: 3, CFHeader: reference.ControlFrameHeader{Flags: reference.ControlFlagFin}, Headers: http.Header{"Port": {"8080"}, "Requestid": {"0"}, "Streamtype": {"error"}}},
		&reference.DataFrame{StreamId: 1, Data: bytes.Repeat([]byte("x"), 70000), Flags: reference.DataFlagFin},
		&reference.PingFrame{Id: 7},
		&reference.RstStreamFrame{StreamId: 3, Status: reference.Cancel},
		&reference.SettingsFrame{FlagIdValues: []reference.SettingsFlagIdValue{{Id: reference.SettingsInitialWindowSize, Value: 1}}},
		&reference.WindowUpdateFrame{StreamId: 1, DeltaWindowSize: 9},
		&reference.GoAwayFrame{LastGoodStreamId: 3, Status: reference.GoAwayOK},
	} {
		if err := peer.WriteFrame(f); err != nil {
			t.Fatalf("%T: %v", f, err)
		}
	}
	r := NewReader(bufio.NewReader(&wire))
	next := func() Frame {
		t.Helper()
		f, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	if f := next(); f.Kind != SynStream || f.Stream != 1 || f.Priority != 3 || f.Get("streamtype") != "stdin" || f.Fin() {
		t.Errorf("%+v", f)
	}
	if f := next(); f.Kind != SynReply || f.Stream != 1 || len(f.Headers) != 0 {
		t.Errorf("%+v", f)
	}
	if f := next(); f.Stream != 3 || !f.Fin() || f.Get("port") != "8080" || f.Get("requestid") != "0" {
		t.Errorf("%+v", f)
	}
	f := next()
	payload, err := io.ReadAll(r)
	if f.Kind != Data || f.Length != 70000 || len(payload) != 70000 || err != nil || !f.Fin() {
		t.Errorf("%+v, %d bytes, %v", f, len(payload), err)
	}
	if f := next(); f.Kind != Ping || f.Stream != 7 {
		t.Errorf("%+v", f)
	}
	if f := next(); f.Kind != RstStream || f.Stream != 3 || f.Status != StatusCancel {
		t.Errorf("%+v", f)
	}
	if f := next(); f.Kind != Settings {
		t.Errorf("%+v", f)
	}
	if f := next(); f.Kind != WindowUpdate || f.Stream != 1 {
		t.Errorf("%+v", f)
	}
	if f := next(); f.Kind != GoAway || f.Stream != 3 {
		t.Errorf("%+v", f)
	}
	if _, err := r.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("behind the last: %v", err)
	}
}

func TestTheReferenceReadsWhatIsWritten(t *testing.T) {
	var w Writer
	var wire []byte
	for _, f := range []*Frame{
		{Kind: SynStream, Stream: 1, Priority: 2, Headers: []Header{{"streamtype", "error"}, {"port", "80"}}},
		{Kind: SynStream, Stream: 3, Flags: FlagFin, Headers: []Header{{"streamtype", "data"}, {"port", "80"}}},
		{Kind: SynReply, Stream: 1},
		{Kind: RstStream, Stream: 3, Status: StatusRefusedStream},
		{Kind: Ping, Stream: 5},
		{Kind: GoAway, Stream: 3},
	} {
		var err error
		if wire, err = w.Append(wire, f); err != nil {
			t.Fatal(err)
		}
	}
	wire = AppendData(wire, 1, true, []byte("hello"))
	peer, err := reference.NewFramer(io.Discard, bytes.NewReader(wire))
	if err != nil {
		t.Fatal(err)
	}
	var got []reference.Frame
	for {
		f, err := peer.ReadFrame()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("behind %d frames: %v", len(got), err)
		}
		got = append(got, f)
	}
	if len(got) != 7 {
		t.Fatalf("%d frames", len(got))
	}
	if f, ok := got[0].(*reference.SynStreamFrame); !ok || f.StreamId != 1 || f.Headers.Get("streamtype") != "error" || f.Headers.Get("port") != "80" || f.Priority != 2 {
		t.Errorf("%+v", got[0])
	}
	if f, ok := got[1].(*reference.SynStreamFrame); !ok || f.CFHeader.Flags != reference.ControlFlagFin || f.Headers.Get("streamtype") != "data" {
		t.Errorf("%+v", got[1])
	}
	if f, ok := got[6].(*reference.DataFrame); !ok || string(f.Data) != "hello" || f.Flags != reference.DataFlagFin {
		t.Errorf("%+v", got[6])
	}
}

func TestHostileFramesAreErrors(t *testing.T) {
	var w Writer
	syn, err := w.Append(nil, &Frame{Kind: SynStream, Stream: 1, Headers: []Header{{"streamtype", "stdin"}}})
	if err != nil {
		t.Fatal(err)
	}
	headers := func(list ...Header) []byte {
		var w Writer
		b, err := w.Append(nil, &Frame{Kind: SynStream, Stream: 1, Headers: list})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	var many []Header
	for i := range maxHeaders + 1 {
		many = append(many, Header{"h" + string(rune('a'+i)), "x"})
	}
	longer := bytes.Clone(syn)
	longer[7]++ // a block that is said to be a byte longer
	longer = append(longer, 0)
	tests := map[string]struct {
		wire []byte
		want error
	}{
		"data for stream 0":                      {[]byte{0, 0, 0, 0, 0, 0, 0, 0}, ErrStream},
		"another version":                        {[]byte{0x80, 2, 0, 6, 0, 0, 0, 4, 0, 0, 0, 1}, ErrVersion},
		"an unknown kind":                        {[]byte{0x80, 3, 0, 5, 0, 0, 0, 4, 0, 0, 0, 1}, errKind},
		"a ping of eight bytes":                  {[]byte{0x80, 3, 0, 6, 0, 0, 0, 8, 0, 0, 0, 1, 0, 0, 0, 1}, ErrLength},
		"settings of sixteen megabytes":          {[]byte{0x80, 3, 0, 4, 0, 0xff, 0xff, 0xff}, ErrLength},
		"a header block of sixteen megabytes":    {[]byte{0x80, 3, 0, 1, 0, 0xff, 0xff, 0xff}, ErrLength},
		"a stream without room for its number":   {[]byte{0x80, 3, 0, 1, 0, 0, 0, 2, 0, 0}, ErrLength},
		"stream 0":                               {[]byte{0x80, 3, 0, 1, 0, 0, 0, 10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, ErrStream},
		"a header block that is no zlib":         {[]byte{0x80, 3, 0, 2, 0, 0, 0, 8, 0, 0, 0, 1, 1, 2, 3, 4}, ErrHeaders},
		"a header block that breaks off":         {syn[:len(syn)-5], ErrHeaders},
		"a header block that is too short":       {longer, ErrHeaders},
		"a name in capitals":                     {headers(Header{"Streamtype", "x"}), ErrHeaders},
		"a name twice":                           {headers(Header{"a", "x"}, Header{"a", "y"}), ErrHeaders},
		"no name":                                {headers(Header{"", "x"}), ErrHeaders},
		"too many headers":                       {headers(many...), ErrHeaders},
		"a value that is little when compressed": {deflated(t, Header{"a", string(make([]byte, 1<<20))}), ErrHeaders},
		"half a header":                          {[]byte{0x80, 3, 0}, io.ErrUnexpectedEOF},
		"half a ping":                            {[]byte{0x80, 3, 0, 6, 0, 0, 0, 4, 0}, io.ErrUnexpectedEOF},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			r := NewReader(bufio.NewReader(bytes.NewReader(tc.wire)))
			if f, err := r.Next(); !errors.Is(err, tc.want) {
				t.Errorf("got %+v, %v", f, err)
			}
		})
	}
}

// deflated is a SYN_STREAM whose header block is compressed, as other peers' are.
func deflated(t *testing.T, h Header) []byte {
	t.Helper()
	plain := binary.BigEndian.AppendUint32(nil, 1)
	for _, s := range []string{h.Name, h.Value} {
		plain = append(binary.BigEndian.AppendUint32(plain, uint32(len(s))), s...)
	}
	var block bytes.Buffer
	z, err := zlib.NewWriterLevelDict(&block, zlib.BestCompression, dictionary)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := z.Write(plain); err != nil {
		t.Fatal(err)
	}
	if err := z.Flush(); err != nil {
		t.Fatal(err)
	}
	frame := []byte{0x80, version, 0, byte(SynStream)}
	frame = binary.BigEndian.AppendUint32(frame, uint32(10+block.Len()))
	frame = append(frame, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0)
	return append(frame, block.Bytes()...)
}

func FuzzReader(f *testing.F) {
	var w Writer
	syn, _ := w.Append(nil, &Frame{Kind: SynStream, Stream: 1, Headers: []Header{{"streamtype", "stdin"}, {"port", "80"}}})
	two, _ := w.Append(bytes.Clone(syn), &Frame{Kind: SynStream, Stream: 3, Headers: []Header{{"streamtype", "data"}}})
	f.Add(syn)
	f.Add(two)
	f.Add(AppendData(nil, 129, true, []byte("hello")))
	f.Add([]byte{0x80, 3, 0, 6, 0, 0, 0, 4, 0, 0, 0, 1})
	f.Fuzz(func(t *testing.T, wire []byte) {
		r := NewReader(bufio.NewReader(bytes.NewReader(wire)))
		var again Writer
		for {
			frame, err := r.Next()
			if err != nil {
				return
			}
			switch frame.Kind {
			case Data:
				n, err := io.Copy(io.Discard, r)
				if err == nil && n != int64(frame.Length) {
					t.Fatalf("%d bytes of %d", n, frame.Length)
				}
			case SynStream, SynReply:
				// What is forwarded is read there as it was here.
				out, err := again.Append(nil, &frame)
				if err != nil {
					t.Fatal(err)
				}
				if len(out) == 0 || len(frame.Headers) > maxHeaders {
					t.Fatalf("%+v", frame)
				}
			}
		}
	})
}
