package mask

import "github.com/chaperone-dev/chaperone/sidecar/mask/pattern"

// Stream replaces matches in a stream that arrives in pieces. It holds back no more than what may become a match;
// the caller flushes that when it has waited long enough (30 ms keeps a terminal lively), after which the rest of a
// match that was cut in two is still recognised. Not for several goroutines.
type Stream struct {
	d *Detectors
	// buf is what was emitted last, for the matches that begin in it, and behind it what is held back.
	buf     []byte
	emitted int
	scratch []byte
	inKey   int // bytes of a private key emitted so far, 0 outside of one

	offset   int64             // of buf in the stream
	searches []*pattern.Search // one for each pattern
	ended    []*pattern.Search // what they would find if the stream were over
}

const (
	// streamContext is how much of what was emitted is remembered at least: the longest local part, what is before
	// a card, and the first line of a private key.
	streamContext = 96
	// streamMatch is how much is remembered of a match that is not over.
	streamMatch = 4 << 10
)

// NewStream returns a Stream that masks what the detectors find.
func NewStream(d *Detectors) *Stream {
	s := &Stream{d: d}
	if !d.Empty() {
		for _, p := range d.patterns {
			s.searches = append(s.searches, pattern.NewSearch(p))
		}
	}
	return s
}

// Write takes the next piece and appends to dst what can be passed on. A match that is passed on in parts counts
// for each.
func (s *Stream) Write(dst, piece []byte) (out []byte, hits int) {
	if s.d.Empty() {
		return append(dst, piece...), 0
	}
	s.buf = append(s.buf, piece...)
	for _, search := range s.searches {
		search.Feed(s.buf, s.offset)
	}
	return s.emit(dst, s.held(), s.searches)
}

// Held is how many bytes are held back.
func (s *Stream) Held() int { return len(s.buf) - s.emitted }

// Flush appends what was held back. At the stream's end, too. What would match if nothing followed is replaced.
func (s *Stream) Flush(dst []byte) (out []byte, hits int) {
	if s.ended == nil {
		s.ended = make([]*pattern.Search, len(s.searches))
	}
	for i, search := range s.searches {
		s.ended[i] = search.IfItEnded(s.ended[i], s.buf, s.offset)
	}
	return s.emit(dst, len(s.buf), s.ended)
}

// emit passes on the bytes up to end, with what the searches have found, and forgets what is no context any more.
func (s *Stream) emit(dst []byte, end int, searches []*pattern.Search) ([]byte, int) {
	if end <= s.emitted {
		return dst, 0
	}
	r := rewriter{
		src: s.buf, dst: s.scratch, partial: &s.d.partial,
		from: s.emitted, to: end, open: end,
	}
	s.d.scan(&r)
	if s.d.on[privateKey] {
		s.scanKeys(&r)
	}
	for _, search := range searches {
		search.Spans(s.offset+int64(s.emitted), func(m pattern.Span) {
			r.replace(int(max(m.Start-s.offset, 0)), int(min(m.End-s.offset, int64(end))))
		})
	}
	if r.out == nil {
		dst = append(dst, s.buf[s.emitted:end]...)
	} else {
		s.scratch = r.out
		dst = append(dst, r.out[s.emitted:end]...)
	}
	s.emitted = end
	cut := min(end-streamContext, max(r.open-longestPrefix-1, end-streamMatch))
	for _, search := range s.searches {
		search.Forget(s.offset + int64(end))
		cut = min(cut, int(search.Needs()-s.offset))
	}
	if cut > 0 {
		s.buf = append(s.buf[:0], s.buf[cut:]...)
		s.emitted -= cut
		s.offset += int64(cut)
	}
	return dst, r.hits
}

// scanKeys replaces the text of private keys, which may go on for many pieces.
func (s *Stream) scanKeys(r *rewriter) {
	from := 0
	if s.inKey > 0 {
		// The END line may have begun in what was flushed of the key.
		flushed := min(s.inKey, len(pemBegin), s.emitted)
		end := max(keyEnd(s.buf, s.emitted-flushed, longestPEM-s.inKey+flushed), s.emitted)
		r.match(privateKey, s.emitted, min(end, r.to), &keepLineBreaks)
		if end >= r.to && s.inKey < longestPEM {
			s.inKey += r.to - s.emitted
			return
		}
		s.inKey = 0
		from = end
	}
	for {
		body := keyBody(s.buf, from)
		if body < 0 || body >= r.to {
			return
		}
		from = body
		if body < s.emitted { // it was seen when it was emitted
			continue
		}
		end := keyEnd(s.buf, body, longestPEM)
		r.match(privateKey, body, min(end, r.to), &keepLineBreaks)
		if end >= r.to {
			s.inKey = r.to - body
			return
		}
		from = end
	}
}
