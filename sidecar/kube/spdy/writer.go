package spdy

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"fmt"
)

// Writer makes the frames that are sent to a peer, in their order. Not for several goroutines.
type Writer struct {
	deflated bytes.Buffer
	deflater *zlib.Writer
	plain    []byte
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
		block, err := w.headers(f.Headers)
		if err != nil {
			return dst, err
		}
		payload = append(payload, block...)
	}
	dst = binary.BigEndian.AppendUint32(dst, 1<<31|version<<16|uint32(f.Kind))
	dst = binary.BigEndian.AppendUint32(dst, uint32(f.Flags)<<24|uint32(len(payload)))
	return append(dst, payload...), nil
}

// headers deflates a header block.
func (w *Writer) headers(headers []Header) ([]byte, error) {
	if w.deflater == nil {
		var err error
		if w.deflater, err = zlib.NewWriterLevelDict(&w.deflated, zlib.BestSpeed, dictionary); err != nil {
			return nil, err
		}
	}
	w.plain = binary.BigEndian.AppendUint32(w.plain[:0], uint32(len(headers)))
	for _, h := range headers {
		for _, s := range []string{h.Name, h.Value} {
			w.plain = binary.BigEndian.AppendUint32(w.plain, uint32(len(s)))
			w.plain = append(w.plain, s...)
		}
	}
	w.deflated.Reset()
	if _, err := w.deflater.Write(w.plain); err != nil {
		return nil, err
	}
	if err := w.deflater.Flush(); err != nil {
		return nil, err
	}
	return w.deflated.Bytes(), nil
}
