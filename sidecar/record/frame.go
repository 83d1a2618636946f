package record

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// A log is kept and sent as one zstd stream (RFC 8878): in front of each part stands a skippable frame with a JSON
// header that names it. So zstdcat prints the events of a spool file, of an object in the bucket and of a whole
// log alike, and all three are read by the same code.
const (
	// frameMagic is one of the sixteen that RFC 8878, section 3.1.2, leaves to applications.
	frameMagic = 0x184D2A5C
	// frameHead is magic and size, four bytes each, little-endian.
	frameHead = 8
	// maxHeader bounds a header: a Meta with some hundred policies.
	maxHeader = 64 << 10
)

// ContentType is the media type of a log.
const ContentType = "application/vnd.chaperone.log"

// ErrTorn says that a frame ends before its time.
var ErrTorn = errors.New("ends in the middle of a frame")

// header is the JSON of a skippable frame. Exactly one field is set.
type header struct {
	Meta  *Meta        `json:"meta,omitempty"`
	Chunk *chunkHeader `json:"chunk,omitempty"`
	Head  *Head        `json:"head,omitempty"`
}

// chunkHeader announces a payload.
type chunkHeader struct {
	Number   uint64 `json:"number"`
	Previous string `json:"previous,omitempty"`
	Hash     string `json:"hash"`
	Size     int    `json:"size"`
	Counts   Counts `json:"counts"`
	Last     bool   `json:"last,omitempty"`
}

func appendHeader(dst []byte, h header) ([]byte, error) {
	text, err := json.Marshal(h)
	if err != nil {
		return dst, fmt.Errorf("encoding a log's header: %w", err)
	}
	if len(text) > maxHeader {
		return dst, fmt.Errorf("encoding a log's header: %d bytes, at most %d fit", len(text), maxHeader)
	}
	dst = binary.LittleEndian.AppendUint32(dst, frameMagic)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(text)))
	return append(dst, text...), nil
}

// AppendChunk appends a chunk's header and payload: the content of an object in the bucket.
func AppendChunk(dst []byte, c *Chunk) ([]byte, error) {
	dst, err := appendHeader(dst, header{Chunk: &chunkHeader{
		Number: c.Number, Previous: hex.EncodeToString(c.Previous), Hash: hex.EncodeToString(c.Hash),
		Size: len(c.Payload), Counts: c.Counts, Last: c.Last,
	}})
	return append(dst, c.Payload...), err
}

// ParseChunk is the inverse of AppendChunk. It wants exactly one chunk and does not check its hash: that is the
// Verifier's part. The payload is not copied.
func ParseChunk(src []byte) (*Chunk, error) {
	if len(src) < frameHead {
		return nil, ErrTorn
	}
	size, err := headerSize(src)
	if err != nil {
		return nil, err
	}
	if len(src) < frameHead+size {
		return nil, ErrTorn
	}
	h, err := parseHeader(src[frameHead : frameHead+size])
	if err != nil {
		return nil, err
	}
	if h.Chunk == nil {
		return nil, errors.New("not a chunk")
	}
	c, err := h.Chunk.chunk()
	if err != nil {
		return nil, err
	}
	payload := src[frameHead+size:]
	if len(payload) < h.Chunk.Size {
		return nil, ErrTorn
	}
	if len(payload) > h.Chunk.Size {
		return nil, fmt.Errorf("chunk %d is followed by %d bytes more", c.Number, len(payload)-h.Chunk.Size)
	}
	c.Payload = payload
	return c, nil
}

func headerSize(src []byte) (int, error) {
	if binary.LittleEndian.Uint32(src) != frameMagic {
		return 0, errors.New("not a log of Chaperone")
	}
	size := binary.LittleEndian.Uint32(src[4:])
	if size > maxHeader {
		return 0, fmt.Errorf("a header of %d bytes, at most %d are allowed", size, maxHeader)
	}
	return int(size), nil
}

func parseHeader(text []byte) (h header, err error) {
	if err := json.Unmarshal(text, &h); err != nil {
		return h, fmt.Errorf("reading a log's header: %w", err)
	}
	return h, nil
}

// chunk checks the header's bounds; the payload is still missing.
func (h *chunkHeader) chunk() (*Chunk, error) {
	if h.Size < 0 || h.Size > MaxPayload {
		return nil, fmt.Errorf("chunk %d has %d bytes, at most %d are allowed", h.Number, h.Size, MaxPayload)
	}
	previous, err := hex.DecodeString(h.Previous)
	if err != nil {
		return nil, fmt.Errorf("reading the hash before chunk %d: %w", h.Number, err)
	}
	hash, err := hex.DecodeString(h.Hash)
	if err != nil {
		return nil, fmt.Errorf("reading the hash of chunk %d: %w", h.Number, err)
	}
	return &Chunk{Number: h.Number, Previous: previous, Hash: hash, Counts: h.Counts, Last: h.Last}, nil
}

// readHeader reads the next header; io.EOF at a clean end.
func readHeader(r io.Reader) (header, error) {
	var head [frameHead]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			err = ErrTorn
		}
		return header{}, err
	}
	size, err := headerSize(head[:])
	if err != nil {
		return header{}, err
	}
	text := make([]byte, size)
	if _, err := io.ReadFull(r, text); err != nil {
		return header{}, torn(err)
	}
	return parseHeader(text)
}

// torn turns an early end into ErrTorn.
func torn(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return ErrTorn
	}
	return err
}
