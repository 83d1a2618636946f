package sftp

import (
	"context"
	"encoding/binary"
)

// appendOffset stands for the offsets of a file that is appended to: the server ignores them.
const appendOffset = 0

// named are the open files that a request is for.
func (s *session) named(frame []byte) []*handle {
	f := fieldsOf(frame)
	var out []*handle
	add := func(name []byte) {
		if h := s.handles.get(name); h != nil {
			out = append(out, h)
		}
	}
	switch frameType(frame) {
	case typeRead, typeWrite, typeClose, typeReaddir, typeFstat, typeFsetstat:
		add(f.bytes(maxHandle))
	case typeExtended:
		switch string(f.bytes(maxPath)) {
		case extFsync, extFstatvfs:
			add(f.bytes(maxHandle))
		case extCopyData:
			add(f.bytes(maxHandle))
			f.take(16)
			add(f.bytes(maxHandle))
		}
	}
	return out
}

// transfer serves what is done with an open file that nothing waits for, and reports whether it did. What was opened is
// judged; reads and writes are only counted, as long as that stands.
func (s *session) transfer(ctx context.Context, frame []byte) (bool, error) {
	switch frameType(frame) {
	case typeRead, typeWrite, typeClose:
	default:
		return false, nil
	}
	f := fieldsOf(frame)
	id := frameID(frame)
	h := s.handles.get(f.bytes(maxHandle))
	if h == nil {
		s.refuse(id, statusFailure, "no such handle")
		return true, nil
	}
	if h.queued.Load() > 0 {
		return false, nil
	}
	return true, s.pass(ctx, frame, h, f)
}

// pass hands a request for an open file on. f stands behind the handle.
func (s *session) pass(ctx context.Context, frame []byte, h *handle, f *fields) error {
	id := frameID(frame)
	p := pending{id: id, handle: h}
	malformed := func() error {
		s.refuse(id, statusBadMessage, errMalformed.Error())
		return nil
	}
	if frameType(frame) != typeClose {
		if refused := h.denied(); refused != nil {
			s.refuse(id, refused.code, refused.text)
			return nil //nolint:nilerr // it is answered
		}
	}
	switch frameType(frame) {
	case typeRead:
		p.kind, p.expect = ofRead, typeData
		p.offset, p.length = f.u64(), f.u32()
		if !f.done() {
			return malformed()
		}
		if !h.reads || h.folder {
			s.refuse(id, statusPermissionDenied, "it is not open for reading")
			return nil
		}
		if p.length > maxData {
			p.length = maxData
			binary.BigEndian.PutUint32(frame[len(frame)-4:], p.length)
		}
	case typeWrite:
		p.kind = ofWrite
		offset, data := f.u64(), f.bytes(maxPacket)
		if !f.done() {
			return malformed()
		}
		if !h.writes || h.folder {
			s.refuse(id, statusPermissionDenied, "it is not open for writing")
			return nil
		}
		h.mu.Lock()
		if h.appends {
			offset = appendOffset + h.written.next
		}
		h.written.add(offset, data)
		h.mu.Unlock()
	case typeClose:
		p.kind = ofClose
		if !f.done() {
			return malformed()
		}
		s.handles.remove(h)
	}
	return s.relay.send(ctx, frame, p)
}
