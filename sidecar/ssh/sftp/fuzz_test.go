package sftp

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
)

// stream is one side's bytes, all at hand from the beginning.
type stream struct {
	*bytes.Reader
	out bytes.Buffer
}

func (s *stream) Write(p []byte) (int, error) { return s.out.Write(p) }
func (s *stream) CloseWrite() error           { return nil }

// anything lets everything through but what it is told to refuse.
type anything struct{ refuse bool }

func (a anything) Judge(_ context.Context, op Operation) (Ruling, error) {
	if a.refuse {
		return Ruling{}, errors.New("refused")
	}
	if len(op.Names) == 0 || op.Path == "" || op.Path[0] != '/' {
		panic("an operation without a name or an absolute path is judged")
	}
	return Ruling{Number: 1, Waited: true}, nil
}
func (anything) Done(uint64, Result) {}

func packet(kind byte, id uint32, change func(*builder)) []byte {
	b := build(kind)
	if change != nil {
		change(b)
	}
	f := b.frame()
	setFrameID(f, id)
	return f
}

// FuzzServe has both sides send anything.
func FuzzServe(f *testing.F) {
	version := packet(typeVersion, 3, func(b *builder) {
		for name, value := range extensions {
			b.text(name).text(value)
		}
	})
	hello := packet(typeInit, 3, nil)
	name := func(id uint32, p string) []byte {
		return packet(typeName, id, func(b *builder) { b.u32(1).text(p).text(p).u32(0) })
	}
	opened := packet(typeHandle, 2, func(b *builder) { b.text("h") })
	add := func(agent [][]byte, server [][]byte) {
		f.Add(bytes.Join(append([][]byte{hello}, agent...), nil), bytes.Join(append([][]byte{version}, server...), nil), false, true)
	}
	add([][]byte{packet(typeOpen, 1, func(b *builder) { b.text("a").u32(openRead).u32(0) }), packet(typeRead, 2, func(b *builder) { b.text("h").u64(0).u32(10) })},
		[][]byte{name(1, "/a"), opened, name(3, "/a"), packet(typeData, 4, func(b *builder) { b.text("data") })})
	add([][]byte{packet(typeRename, 1, func(b *builder) { b.text("a").text("b") })}, [][]byte{name(1, "/"), name(2, "/")})
	add([][]byte{packet(typeExtended, 1, func(b *builder) { b.text(extLimits) })}, [][]byte{packet(typeExtendedReply, 1, func(b *builder) { b.u64(1).u64(2).u64(3).u64(0) })})
	add([][]byte{packet(typeSetstat, 1, func(b *builder) { b.text("a").u32(1 << 31).u32(1 << 30) })}, [][]byte{name(1, "/a")})
	add([][]byte{packet(typeOpendir, 1, func(b *builder) { b.text("a") }), packet(typeReaddir, 2, func(b *builder) { b.text("h") })},
		[][]byte{name(1, "/a"), opened, name(3, "/a"), name(4, "f"), name(5, "/a")})
	add([][]byte{{0xff, 0xff, 0xff, 0xff, 3}}, nil)
	f.Fuzz(func(t *testing.T, agent, server []byte, refuse, resolves bool) {
		a, s := &stream{Reader: bytes.NewReader(agent)}, &stream{Reader: bytes.NewReader(server)}
		_ = Serve(t.Context(), a, s, anything{refuse}, Options{Resolves: resolves})
	})
}

// FuzzFrame: what is read is never more than its length says, and never more than the bound.
func FuzzFrame(f *testing.F) {
	f.Add(packet(typeInit, 3, nil))
	f.Add([]byte{0, 4, 0, 1, 1})
	f.Add([]byte{0, 0, 0, 4, 1, 2, 3, 4})
	f.Fuzz(func(t *testing.T, p []byte) {
		in := bufio.NewReader(bytes.NewReader(p))
		frame, err := readFrame(in, nil)
		if err != nil {
			return
		}
		if len(frame) > maxPacket+4 || len(frame) < header {
			t.Fatalf("a frame of %d bytes", len(frame))
		}
		rest, _ := io.ReadAll(in)
		if !bytes.Equal(append(frame, rest...), p) {
			t.Fatal("bytes are lost")
		}
		f := fieldsOf(frame)
		f.path()
		f.attributes()
		f.u64()
		f.done()
	})
}
