package wire

import (
	"encoding/binary"
	"fmt"

	"github.com/chaperone-dev/chaperone/sidecar/mask"
)

const (
	// maxHeldRow is the longest row (or line of a COPY) that is held whole to be masked. With what is made of it, a
	// session needs four times as much, which fits several times into a sidecar's memory.
	maxHeldRow = 8 << 20
	// longValue is from how many bytes on a value of a longer row is not held.
	longValue = 256 << 10
	// openRow is how much of a longer row is held at most, so that its columns can be masked with another length.
	openRow = 1 << 20
)

// rowBounds are the three, which a test makes small.
type rowBounds struct{ held, value, open int }

var usualBounds = rowBounds{maxHeldRow, longValue, openRow}

// longRow is a DataRow that is masked as it streams through. Its length goes first (protocol, "DataRow"); so only
// what comes before openRow bytes, or before the first long value, may change its length. Behind that, detectors
// replace what they find by as many bytes, and a protected column is refused.
type longRow struct {
	plan    *plan
	left    int // bytes of the body still to come
	columns int // -1 until the count is read
	at      int // the column that is read
	part    []byte
	need    int    // of part: the count, the size of a value, or that with the value
	out     []byte // the row so far, while open
	open    bool   // its length has not been said
	value   int    // bytes of a long value still to come
	text    *mask.Stream
}

// beginLongRow takes a row whose header has been read.
func (c *Core) beginLongRow(p *plan, size int) {
	c.longRow = &longRow{
		plan: p, left: size, columns: -1, need: 2, open: true, out: []byte{msgDataRow, 0, 0, 0, 0},
	}
}

// streamRow takes what p has of the long row, and returns the rest of p.
func (c *Core) streamRow(p []byte) []byte {
	r := c.longRow
	o := c.queue.front()
	for len(p) > 0 && c.longRow != nil && !c.closed {
		if r.value > 0 {
			n := min(r.value, len(p))
			c.streamValue(o, r, p[:n])
			p = p[n:]
			continue
		}
		n := min(r.need-len(r.part), len(p), r.left)
		r.part = append(r.part, p[:n]...)
		r.left -= n
		p = p[n:]
		switch {
		case len(r.part) == r.need:
			c.rowPart(o, r)
		case r.left == 0:
			c.brokenf("a row that cannot be read")
		}
	}
	return p
}

// streamValue passes on a piece of a long value.
func (c *Core) streamValue(o *owed, r *longRow, piece []byte) {
	r.value -= len(piece)
	r.left -= len(piece)
	if r.text == nil {
		c.toAgent.pass(piece)
	} else {
		out, hits := r.text.Write(c.scratch[:0], piece)
		if r.value == 0 {
			var more int
			out, more = r.text.Flush(out)
			hits += more
			r.text = nil
		}
		o.run.masked += int64(hits)
		c.toAgent.add(out)
		c.scratch = keepScratch(out)
	}
	if r.value == 0 {
		c.nextValue(r)
	}
}

// rowPart handles a part of the row that is whole.
func (c *Core) rowPart(o *owed, r *longRow) {
	if r.columns < 0 {
		r.columns = int(binary.BigEndian.Uint16(r.part))
		c.putRow(r, r.part)
		r.at = -1
		c.nextValue(r)
		return
	}
	size := int(int32(binary.BigEndian.Uint32(r.part)))
	have := len(r.part) - 4
	switch {
	case size < -1 || size > r.left+have:
		c.brokenf("a row that cannot be read")
		return
	case size < 0:
		c.putRow(r, r.part)
	case size > c.bounds.value:
		if !c.commit(o, r, r.at) {
			return
		}
		c.putRow(r, r.part)
		r.part, r.value = r.part[:0], size
		if r.column(r.at).treatment == treatDetect {
			r.text = mask.NewStream(o.judged.rules.detectors)
		}
		return
	case have < size:
		r.need = 4 + size
		return
	default:
		c.shortValue(o, r)
	}
	r.part = r.part[:0]
	if len(r.out) > c.bounds.open && !c.commit(o, r, r.at+1) {
		return
	}
	c.nextValue(r)
}

// shortValue masks a value that is whole.
func (c *Core) shortValue(o *owed, r *longRow) {
	value := r.part[4:]
	switch col := r.column(r.at); col.treatment {
	case treatPass:
		c.putRow(r, r.part)
	case treatDetect:
		found, hits := o.judged.rules.detectors.Field(c.scratch, col.typ, col.format, value)
		o.run.masked += int64(hits)
		if hits > 0 {
			for i := range value { // what the detectors find keeps its length
				value[i] = '*'
			}
			copy(value, found)
			c.scratch = keepScratch(found)
		}
		c.putRow(r, r.part)
	default: // r is open: see commit
		o.run.masked++
		r.out = c.replace(r.out, col, value)
	}
}

// nextValue leaves a value.
func (c *Core) nextValue(r *longRow) {
	r.at++
	r.part, r.need = r.part[:0], 4
	if r.at < r.columns {
		return
	}
	if r.left > 0 {
		c.brokenf("a row that cannot be read")
		return
	}
	if r.open {
		c.sayLength(r)
	}
	c.longRow = nil
}

// commit says the row's length, which is that of what is there and of what is to come: the columns from the given one
// on, if none of them has to be masked.
func (c *Core) commit(o *owed, r *longRow, from int) bool {
	if !r.open {
		return true
	}
	for i := from; i < r.columns; i++ {
		if t := r.column(i).treatment; t != treatPass && t != treatDetect {
			c.longRow = nil
			c.swallow, c.pass = true, r.left
			c.limit(o, refusal{
				code:    codeLimit,
				message: fmt.Sprintf("a row of more than %d bytes cannot be masked: column %d of its result is protected and comes late in it", c.bounds.held, i+1),
				hint:    "Select protected columns before those with long values, or leave them out.",
			})
			return false
		}
	}
	c.sayLength(r)
	return true
}

func (c *Core) sayLength(r *longRow) {
	length := len(r.out) - 1 + len(r.part) + r.left
	binary.BigEndian.PutUint32(r.out[1:], uint32(length))
	c.toAgent.add(r.out)
	r.open, r.out = false, nil
}

// putRow adds bytes that stay as they are.
func (c *Core) putRow(r *longRow, p []byte) {
	if r.open {
		r.out = append(r.out, p...)
		return
	}
	c.toAgent.add(p)
}

// column is how column i is treated; where there are other columns than were described, nothing is clear.
func (r *longRow) column(i int) column {
	if r.columns != len(r.plan.columns) {
		return column{treatment: treatNull}
	}
	return r.plan.columns[i]
}
