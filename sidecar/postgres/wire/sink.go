package wire

// sink collects what goes to one side. Bytes that pass unchanged are not copied as long as they are contiguous
// and nothing was put before them: they alias the caller's input.
type sink struct {
	buf []byte // own bytes, first in order
	run []byte // alias of the caller's input, after buf
}

// keep is the largest buffer that is kept for the next time.
const keep = 256 << 10

// pass adds bytes of the caller's input, which the caller must not change before the sink is taken.
func (s *sink) pass(p []byte) {
	n := len(s.run)
	switch {
	case len(p) == 0:
	case n == 0:
		s.run = p
	case cap(s.run) > n && &s.run[:n+1][n] == &p[0]:
		s.run = s.run[:n+len(p)]
	default:
		s.buf = append(s.buf, s.run...)
		s.run = p
	}
}

// own ends the alias and returns the buffer to append to; what was appended is given back with put.
func (s *sink) own() []byte {
	if len(s.run) > 0 {
		s.buf = append(s.buf, s.run...)
		s.run = nil
	}
	return s.buf
}

func (s *sink) put(buf []byte) { s.buf = buf }

// add copies bytes.
func (s *sink) add(p []byte) { s.put(append(s.own(), p...)) }

// settle ends the alias, so that the caller may reuse its input.
func (s *sink) settle() { s.buf = s.own() }

func (s *sink) empty() bool { return len(s.buf) == 0 && len(s.run) == 0 }

// take returns everything and empties the sink. Where out is the sink's own buffer, spare takes its place, and
// reuse, once out has been sent, can be the next spare; where out aliases the caller's input, reuse is spare.
func (s *sink) take(spare []byte) (out, reuse []byte) {
	if len(s.buf) == 0 {
		out, s.run = s.run, nil
		return out, spare
	}
	out = s.own()
	s.buf = spare[:0]
	if cap(out) > keep {
		return out, nil
	}
	return out, out
}
