package wire

import (
	"encoding/binary"

	"github.com/chaperone-dev/chaperone/sidecar/mask"
)

// cleared is how far the server's bytes at hand have been found to hold nothing that a detector could match. It is said
// by how many bytes are behind, which stays true while those before are taken.
type cleared struct {
	by     *mask.Detectors // nil: nothing was looked at
	behind int
	hit    bool // what comes next could match; else it was not looked at
}

// scanned is how much detectors look at at once: far more than a row, and little where rows often match, so that what is
// behind the next such row is looked at again.
const scanned = 4 << 10

// isClear tells whether p's first frame, which has whole bytes, holds nothing that a detector could match.
func (c *Core) isClear(p []byte, whole int, d *mask.Detectors) bool {
	at := &c.cleared
	if at.by == d {
		if len(p)-whole >= at.behind {
			return true
		}
		if at.hit && len(p) > at.behind {
			return false
		}
	}
	look := p[:max(whole, min(len(p), scanned))]
	n := d.Clear(look)
	*at = cleared{by: d, behind: len(p) - n, hit: n < len(look)}
	return n >= whole
}

// rowsBehind takes the complete rows of the same result behind p's first n bytes, down to the last left bytes, and returns
// how many bytes the rows are with those first. Each is of at most most bytes. What the policy's limits end is left.
func (c *Core) rowsBehind(p []byte, n int, left, most int) int {
	o := c.queue.front()
	if o == nil {
		return n
	}
	kind, run, limits := p[0], &o.run, &o.judged.rules.settings.Limits
	rows, bytes := o.before()
	for {
		rest := p[n:]
		if len(rest) < header || rest[0] != kind {
			return n
		}
		size := int(binary.BigEndian.Uint32(rest[1:])) - 4
		if size < 0 || size > most || len(rest)-header-size < left ||
			limits.Rows > 0 && rows+run.rows >= limits.Rows || limits.Bytes > 0 && bytes+run.bytes+int64(size) > limits.Bytes {
			return n
		}
		run.rows++
		run.bytes += int64(size)
		n += header + size
	}
}
