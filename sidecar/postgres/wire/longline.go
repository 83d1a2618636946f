package wire

import (
	"encoding/binary"

	"github.com/chaperone-dev/chaperone/sidecar/mask"
)

// longLine is a row of a COPY in the text format in which detectors look for values as it streams through. It goes on
// in several CopyData messages, as the protocol lets a sender divide it ("COPY Operations").
type longLine struct {
	left    int // bytes still to come
	escaped bool
	plain   []byte // of the value, without escapes, not yet looked at
	found   []byte
	text    *mask.Stream
}

// streams tells whether a row may be masked as it streams through.
func (out *copyOut) streams() bool { return out.detect && out.format.kind == 't' && !out.header }

// beginLongLine takes a row whose header has been read.
func (c *Core) beginLongLine(o *owed, size int) {
	c.longLine = &longLine{left: size, text: mask.NewStream(o.judged.rules.detectors)}
}

// streamLine takes what p has of the long row, and returns the rest of p.
func (c *Core) streamLine(p []byte) []byte {
	l := c.longLine
	o := c.queue.front()
	piece := p[:min(l.left, len(p))]
	l.left -= len(piece)
	delimiter := c.copyOut.format.delimiter
	out := append(c.row[:0], msgCopyData, 0, 0, 0, 0)
	// end leaves a value, or the piece.
	end := func(value bool) {
		found, hits := l.text.Write(l.found[:0], l.plain)
		if value {
			var more int
			found, more = l.text.Flush(found)
			hits += more
			l.text = mask.NewStream(o.judged.rules.detectors)
		}
		o.run.masked += int64(hits)
		out = appendCopyText(out, found, delimiter)
		l.plain, l.found = l.plain[:0], found
	}
	for _, b := range piece {
		switch {
		case l.escaped && b == 'N': // NULL, which is a value of its own
			end(true)
			out = append(out, '\\', 'N')
			l.escaped = false
		case l.escaped:
			l.plain = append(l.plain, unescaped(b))
			l.escaped = false
		case b == '\\':
			l.escaped = true
		case b == delimiter || b == '\n':
			end(true)
			out = append(out, b)
		default:
			l.plain = append(l.plain, b)
		}
	}
	end(l.left == 0)
	if len(out) > header {
		binary.BigEndian.PutUint32(out[1:], uint32(len(out)-1))
		c.toAgent.add(out)
	}
	c.row = keepScratch(out)
	if l.left == 0 {
		c.longLine = nil
	}
	return p[len(piece):]
}
