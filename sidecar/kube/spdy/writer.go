package spdy

import (
	"encoding/binary"
	"fmt"
	"hash/adler32"
)

// Writer makes the frames that are sent to a peer, in their order. Not for several goroutines.
type Writer struct {
	begun        bool // the stream of header blocks
	plain, block []byte
}

// DataHeader is how many bytes the header of a data frame takes.
const DataHeader = 8

// MaxData is the longest payload of a data frame.
const MaxData = 1<<24 - 1

// AppendData appends a data frame.
func AppendData(dst []byte, stream uint32, fin bool, payload []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, stream&0x7fffffff)
	length := uint32(len(payload)) & MaxData
	if fin {
		length |= uint32(FlagFin) << 24
	}
	dst = binary.BigEndian.AppendUint32(dst, length)
	return append(dst, payload...)
}

// Append appends a frame that is not data. SETTINGS, HEADERS and WINDOW_UPDATE are nobody's business behind a proxy that
// has windows and headers of its own, and have no form here.
func (w *Writer) Append(dst []byte, f *Frame) ([]byte, error) {
	var payload []byte
	switch f.Kind {
	case SynStream:
		payload = binary.BigEndian.AppendUint32(payload, f.Stream)
		payload = append(payload, 0, 0, 0, 0, f.Priority<<5, 0)
	case SynReply:
		payload = binary.BigEndian.AppendUint32(payload, f.Stream)
	case RstStream, GoAway:
		payload = binary.BigEndian.AppendUint32(payload, f.Stream)
		payload = binary.BigEndian.AppendUint32(payload, f.Status)
	case Ping:
		payload = binary.BigEndian.AppendUint32(payload, f.Stream)
	default:
		return dst, fmt.Errorf("%w: %d is not written", errKind, f.Kind)
	}
	if f.Kind == SynStream || f.Kind == SynReply {
		payload = append(payload, w.headers(f.Headers)...)
	}
	dst = binary.BigEndian.AppendUint32(dst, 1<<31|version<<16|uint32(f.Kind))
	dst = binary.BigEndian.AppendUint32(dst, uint32(f.Flags)<<24|uint32(len(payload)))
	return append(dst, payload...), nil
}

// headers writes a header block, in the zlib stream of the connection's header blocks (2.6.10.1). It is not compressed:
// Kubernetes' headers are a few short words, and a compressor would take more memory than all the rest of a session.
func (w *Writer) headers(headers []Header) []byte {
	w.plain = binary.BigEndian.AppendUint32(w.plain[:0], uint32(len(headers)))
	for _, h := range headers {
		for _, s := range []string{h.Name, h.Value} {
			w.plain = binary.BigEndian.AppendUint32(w.plain, uint32(len(s)))
			w.plain = append(w.plain, s...)
		}
	}
	w.block = w.block[:0]
	if !w.begun {
		w.begun = true
		w.block = append(w.block, zlibHeader...)
	}
	for plain := w.plain; len(plain) > 0; {
		n := min(len(plain), maxStored)
		w.block = appendStored(w.block, plain[:n])
		plain = plain[n:]
	}
	return appendStored(w.block, nil) // as Z_SYNC_FLUSH ends: readers give out what came before
}

// maxStored is the longest stored block (RFC 1951 3.2.4).
const maxStored = 1<<16 - 1

// appendStored appends a block that is not compressed and not the last. It begins at a byte's boundary, because there are
// no others.
func appendStored(dst, content []byte) []byte {
	n := uint16(len(content))
	dst = append(dst, 0)
	dst = binary.LittleEndian.AppendUint16(dst, n)
	dst = binary.LittleEndian.AppendUint16(dst, ^n)
	return append(dst, content...)
}

// zlibHeader begins the stream: deflate with a window of 32 KiB, fastest, and the preset dictionary's checksum
// (RFC 1950 2.2).
var zlibHeader = binary.BigEndian.AppendUint32([]byte{0x78, 0x20}, adler32.Checksum(dictionary))
