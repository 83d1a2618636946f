package websocket

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Opcode says what a frame is (RFC 6455 5.2).
type Opcode byte

// The opcodes that there are.
const (
	Continuation Opcode = 0
	Text         Opcode = 1
	Binary       Opcode = 2
	Close        Opcode = 8
	Ping         Opcode = 9
	Pong         Opcode = 10
)

// Control tells whether frames of it may stand between those of a message.
func (o Opcode) Control() bool { return o&8 != 0 }

// MaxControl is how long the payload of a control frame is at most (5.5).
const MaxControl = 125

// Frame is a frame's header.
type Frame struct {
	Opcode Opcode
	// Final says that its message ends with it.
	Final  bool
	Length uint64
}

// Reader reads frames. Not for several goroutines.
type Reader struct {
	r *bufio.Reader
	// masked says that the peer is a client, whose frames are masked; a server's are not (5.1).
	masked  bool
	open    bool // a message goes on
	left    uint64
	key     [4]byte
	at      int // in key
	keyed   bool
	header  [14]byte
	control [MaxControl]byte
}

// NewReader reads the frames of a client, which are masked, or of a server.
func NewReader(r *bufio.Reader, fromClient bool) *Reader { return &Reader{r: r, masked: fromClient} }

// Errors of the peer. Any error ends the connection (7.1.7).
var (
	ErrReserved = errors.New("a WebSocket frame with a reserved bit set, which no extension was agreed on for")
	ErrMask     = errors.New("a WebSocket frame that is masked where it must not be, or is not where it must")
	ErrLength   = errors.New("a WebSocket frame with a length that is not written in the fewest bytes, or is too large")
	ErrOrder    = errors.New("a WebSocket frame that neither begins a message nor goes on with one")
)

// Next reads the next frame's header; what was not read of the one before is skipped.
func (r *Reader) Next() (Frame, error) {
	if err := r.skip(); err != nil {
		return Frame{}, err
	}
	h := r.header[:2]
	if _, err := io.ReadFull(r.r, h); err != nil {
		return Frame{}, err // io.EOF between two frames
	}
	if h[0]&0x70 != 0 {
		return Frame{}, ErrReserved
	}
	f := Frame{Opcode: Opcode(h[0] & 0x0f), Final: h[0]&0x80 != 0, Length: uint64(h[1] & 0x7f)}
	if (h[1]&0x80 != 0) != r.masked {
		return Frame{}, ErrMask
	}
	if err := r.length(&f); err != nil {
		return Frame{}, err
	}
	if err := r.check(f); err != nil {
		return Frame{}, err
	}
	r.keyed = r.masked
	if r.masked {
		if _, err := io.ReadFull(r.r, r.key[:]); err != nil {
			return Frame{}, broken(err)
		}
		r.at = 0
	}
	r.left = f.Length
	return f, nil
}

// length reads the longer forms (5.2).
func (r *Reader) length(f *Frame) error {
	size := map[uint64]int{126: 2, 127: 8}[f.Length]
	if size == 0 {
		return nil
	}
	b := r.header[:size]
	if _, err := io.ReadFull(r.r, b); err != nil {
		return broken(err)
	}
	least := uint64(126)
	if size == 2 {
		f.Length = uint64(binary.BigEndian.Uint16(b))
	} else {
		f.Length, least = binary.BigEndian.Uint64(b), 1<<16
	}
	if f.Length < least || f.Length>>63 != 0 {
		return ErrLength
	}
	return nil
}

// check holds the frame to the rules on opcodes and fragments (5.4, 5.5).
func (r *Reader) check(f Frame) error {
	switch f.Opcode {
	case Close, Ping, Pong:
		if f.Length > MaxControl {
			return ErrLength
		}
		if !f.Final {
			return ErrOrder
		}
		return nil
	case Continuation:
		if !r.open {
			return ErrOrder
		}
	case Text, Binary:
		if r.open {
			return ErrOrder
		}
	default:
		return fmt.Errorf("a WebSocket frame of the unknown kind %d", f.Opcode)
	}
	r.open = !f.Final
	return nil
}

// Read reads of the frame's payload, unmasked. At its end the error is io.EOF.
func (r *Reader) Read(p []byte) (int, error) {
	if r.left == 0 {
		return 0, io.EOF
	}
	if uint64(len(p)) > r.left {
		p = p[:r.left]
	}
	n, err := r.r.Read(p)
	r.left -= uint64(n)
	if r.keyed {
		r.at = xor(p[:n], r.key, r.at)
	}
	if err != nil {
		return n, broken(err)
	}
	return n, nil
}

// Fill reads as Read does, until p is full or the frame is over: what its sender wrote at once is not cut up.
func (r *Reader) Fill(p []byte) (n int, err error) {
	for n < len(p) && err == nil && (n == 0 || r.left > 0) {
		var m int
		m, err = r.Read(p[n:])
		n += m
	}
	return n, err
}

// Control reads a control frame's payload; it is good until the next call.
func (r *Reader) Control() ([]byte, error) {
	b := r.control[:min(r.left, MaxControl)]
	_, err := io.ReadFull(r, b)
	return b, err
}

// skip leaves the rest of a frame out.
func (r *Reader) skip() error {
	for r.left > 0 {
		n, err := r.r.Discard(int(min(r.left, 1<<20)))
		r.left -= uint64(n)
		if err != nil {
			return broken(err)
		}
	}
	return nil
}

// broken is the error of a stream that ends within a frame.
func broken(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// xor masks b, or unmasks it, from a place in the key (5.3); it returns the place behind.
func xor(b []byte, key [4]byte, at int) int {
	for len(b) > 0 && at != 0 {
		b[0] ^= key[at]
		b, at = b[1:], (at+1)%4
	}
	word := uint64(binary.LittleEndian.Uint32(key[:]))
	word |= word << 32
	for len(b) >= 8 {
		binary.LittleEndian.PutUint64(b, binary.LittleEndian.Uint64(b)^word)
		b = b[8:]
	}
	for i := range b {
		b[i] ^= key[i%4]
	}
	return (at + len(b)) % 4
}
