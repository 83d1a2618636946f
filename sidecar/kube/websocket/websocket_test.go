package websocket

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"
)

// The examples of RFC 6455 5.7.
func TestTheExamplesOfTheStandardAreRead(t *testing.T) {
	tests := map[string]struct {
		client bool
		wire   []byte
		want   []string // payloads
		kinds  []Opcode
	}{
		"an unmasked text message":    {false, []byte{0x81, 0x05, 'H', 'e', 'l', 'l', 'o'}, []string{"Hello"}, []Opcode{Text}},
		"a masked text message":       {true, []byte{0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58}, []string{"Hello"}, []Opcode{Text}},
		"a fragmented text message":   {false, []byte{0x01, 0x03, 'H', 'e', 'l', 0x80, 0x02, 'l', 'o'}, []string{"Hel", "lo"}, []Opcode{Text, Continuation}},
		"a ping":                      {false, []byte{0x89, 0x05, 'H', 'e', 'l', 'l', 'o'}, []string{"Hello"}, []Opcode{Ping}},
		"a ping within a message":     {false, []byte{0x02, 0x01, 'a', 0x89, 0x00, 0x80, 0x01, 'b'}, []string{"a", "", "b"}, []Opcode{Binary, Ping, Continuation}},
		"256 bytes":                   {false, append([]byte{0x82, 0x7e, 0x01, 0x00}, bytes.Repeat([]byte("x"), 256)...), []string{string(bytes.Repeat([]byte("x"), 256))}, []Opcode{Binary}},
		"64 kibibytes":                {false, append([]byte{0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0}, bytes.Repeat([]byte("x"), 65536)...), []string{string(bytes.Repeat([]byte("x"), 65536))}, []Opcode{Binary}},
		"a message of nothing at all": {false, []byte{0x82, 0x00}, []string{""}, []Opcode{Binary}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			r := NewReader(bufio.NewReader(bytes.NewReader(tc.wire)), tc.client)
			for i, want := range tc.want {
				f, err := r.Next()
				if err != nil || f.Opcode != tc.kinds[i] {
					t.Fatalf("frame %d: %+v, %v", i, f, err)
				}
				if got, err := io.ReadAll(r); err != nil || string(got) != want {
					t.Fatalf("frame %d: %q, %v", i, got, err)
				}
			}
			if _, err := r.Next(); !errors.Is(err, io.EOF) {
				t.Errorf("behind the last: %v", err)
			}
		})
	}
}

func TestHostileFramesAreErrors(t *testing.T) {
	tests := map[string]struct {
		client bool
		wire   []byte
		want   error
	}{
		"a reserved bit":                           {false, []byte{0xc2, 0x00}, ErrReserved},
		"a client's frame that is not masked":      {true, []byte{0x82, 0x00}, ErrMask},
		"a server's frame that is masked":          {false, []byte{0x82, 0x80, 1, 2, 3, 4}, ErrMask},
		"a short length in the middle form":        {false, []byte{0x82, 0x7e, 0x00, 0x05}, ErrLength},
		"a middle length in the long form":         {false, []byte{0x82, 0x7f, 0, 0, 0, 0, 0, 0, 0xff, 0xff}, ErrLength},
		"a length with the highest bit":            {false, []byte{0x82, 0x7f, 0x80, 0, 0, 0, 0, 1, 0, 0}, ErrLength},
		"a control frame that is too long":         {false, []byte{0x89, 0x7e, 0x00, 0x7e}, ErrLength},
		"a control frame in fragments":             {false, []byte{0x09, 0x00}, ErrOrder},
		"a continuation of nothing":                {false, []byte{0x80, 0x00}, ErrOrder},
		"a message within a message":               {false, []byte{0x02, 0x00, 0x82, 0x00}, ErrOrder},
		"an end within a header":                   {false, []byte{0x82, 0x7e, 0x01}, io.ErrUnexpectedEOF},
		"an end within a payload":                  {false, []byte{0x82, 0x05, 'a'}, io.ErrUnexpectedEOF},
		"an end within a mask":                     {true, []byte{0x82, 0x85, 'a'}, io.ErrUnexpectedEOF},
		"a frame said to be of nine exabytes ends": {false, []byte{0x82, 0x7f, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 'a'}, io.ErrUnexpectedEOF},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			r := NewReader(bufio.NewReader(bytes.NewReader(tc.wire)), tc.client)
			var err error
			for err == nil {
				if _, err = r.Next(); err == nil {
					_, err = io.Copy(io.Discard, r)
				}
			}
			if !errors.Is(err, tc.want) {
				t.Errorf("got %v", err)
			}
		})
	}
	for _, op := range []byte{3, 7, 11, 15} {
		if _, err := NewReader(bufio.NewReader(bytes.NewReader([]byte{0x80 | op, 0})), false).Next(); err == nil {
			t.Errorf("the kind %d was read", op)
		}
	}
}

func TestAcceptIsTheStandards(t *testing.T) {
	if got := Accept("dGhlIHNhbXBsZSBub25jZQ=="); got != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
		t.Error(got)
	}
	if !ValidKey(Key()) || ValidKey("") || ValidKey("dGhlIHNhbXBsZQ==") || ValidKey("dGhlIHNhbXBsZSBub25jZQ") {
		t.Error("keys")
	}
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	for _, n := range []int{0, 1, 125, 126, 65535, 65536, 100001} {
		for _, masked := range []bool{false, true} {
			payload := bytes.Repeat([]byte{1, 2, 3, 5, 7}, n/5+1)[:n]
			wire := AppendFrame(nil, Binary, masked, payload[:n/2], payload[n/2:])
			r := NewReader(bufio.NewReader(bytes.NewReader(wire)), masked)
			f, err := r.Next()
			if err != nil || !f.Final || f.Length != uint64(n) {
				t.Fatalf("%d: %+v, %v", n, f, err)
			}
			var got []byte
			for piece := make([]byte, 7); ; { // a mask goes on over reads of any size
				m, err := r.Read(piece)
				got = append(got, piece[:m]...)
				if err != nil {
					break
				}
			}
			if !bytes.Equal(got, payload) {
				t.Errorf("%d bytes, masked %v: they changed", n, masked)
			}
		}
	}
}

func TestAFrameThatComesInPiecesIsReadWhole(t *testing.T) {
	wire := append(AppendFrame(nil, Binary, true, []byte("hello, "), []byte("world")), AppendFrame(nil, Binary, true, []byte("next"))...)
	r := NewReader(bufio.NewReader(iotest.OneByteReader(bytes.NewReader(wire))), true)
	for _, want := range []string{"hello, world", "next"} {
		if _, err := r.Next(); err != nil {
			t.Fatal(err)
		}
		p := make([]byte, 64)
		if n, err := r.Fill(p[:5]); err != nil || string(p[:n]) != want[:min(5, len(want))] {
			t.Errorf("%q, %v", p[:n], err)
		}
		rest := want[min(5, len(want)):]
		if n, err := r.Fill(p); string(p[:n]) != rest || (n == 0) != errors.Is(err, io.EOF) {
			t.Errorf("%q, %v", p[:n], err)
		}
	}
	broken := NewReader(bufio.NewReader(iotest.OneByteReader(bytes.NewReader(wire[:12]))), true)
	if _, err := broken.Next(); err != nil {
		t.Fatal(err)
	}
	if n, err := broken.Fill(make([]byte, 64)); n != 6 || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("of a frame that breaks off: %d bytes, %v", n, err)
	}
}

func FuzzReader(f *testing.F) {
	f.Add(true, []byte{0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58})
	f.Add(false, []byte{0x02, 0x01, 'a', 0x89, 0x00, 0x80, 0x01, 'b'})
	f.Add(false, []byte{0x82, 0x7f, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 'a'})
	f.Fuzz(func(t *testing.T, client bool, wire []byte) {
		r := NewReader(bufio.NewReader(bytes.NewReader(wire)), client)
		open := false
		for {
			frame, err := r.Next()
			if err != nil {
				return
			}
			if frame.Opcode.Control() {
				if b, err := r.Control(); err == nil && uint64(len(b)) != frame.Length {
					t.Fatalf("%d bytes of %d", len(b), frame.Length)
				}
				continue
			}
			if (frame.Opcode == Continuation) != open {
				t.Fatalf("%+v, and a message open: %v", frame, open)
			}
			open = !frame.Final
			if n, err := io.Copy(io.Discard, r); err == nil && uint64(n) != frame.Length {
				t.Fatalf("%d bytes of %d", n, frame.Length)
			}
		}
	})
}
