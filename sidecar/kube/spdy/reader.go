package spdy

import (
	"bufio"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Reader reads frames. Not for several goroutines.
type Reader struct {
	r        *bufio.Reader
	left     int // of a data frame's payload
	block    block
	inflater io.ReadCloser
	scratch  [maxControl]byte
}

// NewReader reads the frames that a peer sends.
func NewReader(r *bufio.Reader) *Reader {
	return &Reader{r: r, block: block{r: r}}
}

// Next reads the next frame; what was not read of a data frame's payload is skipped.
func (r *Reader) Next() (Frame, error) {
	for r.left > 0 {
		n, err := r.r.Discard(r.left)
		r.left -= n
		if err != nil {
			return Frame{}, broken(err)
		}
	}
	h := r.scratch[:8]
	if _, err := io.ReadFull(r.r, h); err != nil {
		return Frame{}, err // io.EOF between two frames
	}
	first, second := binary.BigEndian.Uint32(h), binary.BigEndian.Uint32(h[4:])
	f := Frame{Flags: byte(second >> 24)}
	length := int(second & 0xffffff)
	if first>>31 == 0 {
		f.Stream, f.Length, r.left = first, length, length
		if f.Stream == 0 {
			return Frame{}, ErrStream
		}
		return f, nil
	}
	if first>>16&0x7fff != version {
		return Frame{}, ErrVersion
	}
	f.Kind = Kind(first)
	var err error
	switch f.Kind {
	case SynStream, SynReply, Headers:
		err = r.headers(&f, length)
	case RstStream, Settings, Ping, GoAway, WindowUpdate:
		err = r.control(&f, length)
	default:
		err = fmt.Errorf("%w: %d", errKind, f.Kind)
	}
	return f, err
}

// Read reads of a data frame's payload. At its end the error is io.EOF.
func (r *Reader) Read(p []byte) (int, error) {
	if r.left == 0 {
		return 0, io.EOF
	}
	n, err := r.r.Read(p[:min(len(p), r.left)])
	r.left -= n
	if err != nil {
		return n, broken(err)
	}
	return n, nil
}

// control reads frames of a fixed size, and SETTINGS, of which nothing is wanted.
func (r *Reader) control(f *Frame, length int) error {
	size := map[Kind]int{RstStream: 8, Ping: 4, GoAway: 8, WindowUpdate: 8}[f.Kind]
	if length > maxControl || length < 4 || size != 0 && length != size {
		return ErrLength
	}
	b := r.scratch[:length]
	if _, err := io.ReadFull(r.r, b); err != nil {
		return broken(err)
	}
	if f.Kind == Settings {
		return nil
	}
	f.Stream = binary.BigEndian.Uint32(b) & 0x7fffffff
	if f.Kind == Ping {
		f.Stream = binary.BigEndian.Uint32(b)
		return nil
	}
	f.Status = binary.BigEndian.Uint32(b[4:])
	if f.Stream == 0 && f.Kind == RstStream {
		return ErrStream
	}
	return nil
}

// headers reads a frame that ends in a header block.
func (r *Reader) headers(f *Frame, length int) error {
	fixed := 4
	if f.Kind == SynStream {
		fixed = 10
	}
	if length < fixed || length > fixed+maxBlock {
		return ErrLength
	}
	b := r.scratch[:fixed]
	if _, err := io.ReadFull(r.r, b); err != nil {
		return broken(err)
	}
	f.Stream = binary.BigEndian.Uint32(b) & 0x7fffffff
	if f.Stream == 0 {
		return ErrStream
	}
	if f.Kind == SynStream {
		f.Priority = b[8] >> 5
	}
	r.block.left = length - fixed
	if r.inflater == nil {
		inflater, err := zlib.NewReaderDict(&r.block, dictionary)
		if err != nil {
			return unreadable(err)
		}
		r.inflater = inflater
	}
	var err error
	if f.Headers, err = readHeaders(r.inflater); err != nil {
		return unreadable(err)
	}
	if r.block.left != 0 {
		return errLeftover
	}
	return nil
}

// readHeaders reads what a header block holds (2.6.10).
func readHeaders(from io.Reader) ([]Header, error) {
	budget := maxBlock
	var word [4]byte
	number := func(most int) (int, error) {
		if _, err := io.ReadFull(from, word[:]); err != nil {
			return 0, err
		}
		n := binary.BigEndian.Uint32(word[:])
		if n > uint32(most) {
			return 0, ErrHeaders
		}
		return int(n), nil
	}
	text := func() (string, error) {
		n, err := number(budget)
		if err != nil {
			return "", err
		}
		budget -= n
		b := make([]byte, n)
		_, err = io.ReadFull(from, b)
		return string(b), err
	}
	count, err := number(maxHeaders)
	if err != nil {
		return nil, err
	}
	out := make([]Header, 0, count)
	for range count {
		var h Header
		if h.Name, err = text(); err != nil {
			return nil, err
		}
		if h.Value, err = text(); err != nil {
			return nil, err
		}
		if h.Name == "" || strings.ToLower(h.Name) != h.Name {
			return nil, errTwice
		}
		for _, before := range out {
			if before.Name == h.Name {
				return nil, errTwice
			}
		}
		out = append(out, h)
	}
	return out, nil
}

// block is the part of the connection that one header block is; the inflater reads all blocks of a connection. It is an
// io.ByteReader, so that nothing behind the block is taken.
type block struct {
	r    *bufio.Reader
	left int
}

func (b *block) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, io.ErrUnexpectedEOF
	}
	n, err := b.r.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

func (b *block) ReadByte() (byte, error) {
	if b.left == 0 {
		return 0, io.ErrUnexpectedEOF
	}
	b.left--
	return b.r.ReadByte()
}

func unreadable(err error) error {
	if errors.Is(err, ErrHeaders) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrHeaders, err)
}

// broken is the error of a stream that ends within a frame.
func broken(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
