package wire

import (
	"encoding/binary"
	"fmt"

	"github.com/jackc/pgproto3/v2"

	"github.com/chaperone-dev/chaperone/sidecar/mask"
	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/postgres/sql"
)

// copyOut is a COPY TO STDOUT under way. A server sends one row a message (src/backend/commands/copyto.c), and
// that is relied on: a message that ends inside a row is refused.
type copyOut struct {
	columns []column
	pass    bool
	detect  bool
	// raw says that a row in which no detector could match can be told by looking at it as it is written.
	raw    bool
	format copyFormat
	// header says that the next row names the columns (or, in binary, that it begins with the file's header).
	header bool
}

// copyFormat is how rows are written.
type copyFormat struct {
	kind                     byte // 't', 'c' or 'b'
	delimiter, quote, escape byte
	null                     string
}

// copyAnswer handles CopyInResponse, CopyOutResponse and CopyDone.
func (c *Core) copyAnswer(o *owed, frame []byte, alias bool) {
	if o.kind != answerExecute && o.kind != answerQuery || o.refresh != nil {
		c.brokenf("COPY out of turn")
		return
	}
	switch frame[0] {
	case msgCopyInResponse:
		if c.dropping {
			// Nobody will send data: what was asked for has been answered with an error already.
			c.send(&pgproto3.CopyFail{Message: "the session has gone on"})
			return
		}
		c.copyIn = copyActive
	case msgCopyDone:
		if c.copyOut == nil && !c.dropping {
			c.brokenf("CopyDone out of turn")
			return
		}
		c.copyOut = nil
	case msgCopyOutResponse:
		var m pgproto3.CopyOutResponse
		if len(frame) < header+3 || len(frame) != header+3+2*int(binary.BigEndian.Uint16(frame[header+1:])) || m.Decode(frame[header:]) != nil {
			c.brokenf("a CopyOutResponse that cannot be read")
			return
		}
		out, ok := c.copyPlan(o, len(m.ColumnFormatCodes), m.OverallFormat != 0)
		if !ok {
			c.limit(o, refusal{code: codeDenied, message: "what this COPY sends cannot be masked, because its format is not known",
				hint: "Write COPY with its own options, or use SELECT."})
			return
		}
		c.copyOut = out
	}
	c.emit(frame, alias)
}

// copyPlan decides what happens to each column of a COPY.
func (c *Core) copyPlan(o *owed, columns int, binaryFormat bool) (*copyOut, bool) {
	rules := o.judged.rules
	out := &copyOut{pass: true, detect: true, columns: make([]column, columns)}
	if !rules.masks() {
		return out, true
	}
	shape := c.shape(o, o.of, c.epoch())
	for i := range out.columns {
		proof := shape.Column(i, columns)
		switch {
		case proof.Proof == sql.Masked && proof.Row >= 0 && proof.Row < len(rules.masking):
			out.columns[i] = column{treatment: treatMask, method: rules.method(proof)}
		case proof.Proof != sql.Clear:
			out.columns[i] = column{treatment: treatMask, method: policy.MaskRedact}
		case !rules.detectors.Empty():
			out.columns[i] = column{treatment: treatDetect}
		}
		if out.columns[i].method == policy.MaskNull || out.columns[i].treatment == treatMask && binaryFormat {
			out.columns[i].treatment = treatNull // a COPY says nothing of its types
		}
		out.pass = out.pass && out.columns[i].treatment == treatPass
		out.detect = out.detect && out.columns[i].treatment <= treatDetect
	}
	if out.pass {
		return out, true
	}
	p := o.part()
	if p == nil || p.Copy == nil || !p.Copy.To || binaryFormat != (p.Copy.Format == "binary") {
		return nil, false
	}
	if e := p.Copy.Encoding; e != "" && !utf8Name(e) {
		return nil, false
	}
	out.header = p.Copy.Header || binaryFormat
	out.format = copyFormat{
		kind: 't', delimiter: first(p.Copy.Delimiter, '\t'), quote: first(p.Copy.Quote, '"'), null: p.Copy.Null,
	}
	out.format.escape = first(p.Copy.Escape, out.format.quote)
	switch p.Copy.Format {
	case "csv":
		out.format.kind = 'c'
		out.format.delimiter = first(p.Copy.Delimiter, ',')
	case "binary":
		out.format.kind = 'b'
	case "text", "":
	default:
		return nil, false
	}
	out.raw = out.detect && out.format.apart()
	return out, true
}

// apart tells whether values stand in a row as they are, and apart from each other: a delimiter that is a point would join
// two numbers to one, and a quote that is a digit is doubled within a number.
func (f *copyFormat) apart() bool {
	switch f.kind {
	case 'b':
		return true
	case 'c':
		return mask.Apart(f.delimiter) && mask.Apart(f.quote) && mask.Apart(f.escape)
	}
	return mask.Apart(f.delimiter)
}

func first(s string, otherwise byte) byte {
	if len(s) == 1 {
		return s[0]
	}
	return otherwise
}

func utf8Name(encoding string) bool {
	switch encoding {
	case "UTF8", "utf8", "UTF-8", "utf-8", "Utf8", "unicode", "UNICODE":
		return true
	}
	return false
}

// classifyCopy says how to handle a CopyData of the server's.
func (c *Core) classifyCopy(size int) mode {
	o := c.queue.front()
	switch {
	case c.dropping:
		return modeDrop
	case o == nil || c.copyOut == nil:
		c.brokenf("COPY data out of turn")
		return modeDrop
	}
	o.run.rows++
	o.run.bytes += int64(size)
	if c.over(o) {
		return modeDrop
	}
	switch {
	case c.copyOut.pass:
		return modePass
	case size > c.bounds.held && c.copyOut.streams():
		c.beginLongLine(o, size)
		return modeStream
	case size > c.bounds.held:
		c.limit(o, refusal{
			code:    codeLimit,
			message: fmt.Sprintf("a row of %d bytes cannot be masked in this COPY: at most %d bytes can", size, c.bounds.held),
			hint:    "Leave protected columns out and use the text format, or SELECT.",
		})
		return modeDrop
	case c.copyOut.raw && !c.copyOut.header:
		return modeScan
	}
	return modeHold
}

// copyLine handles a row of a COPY that is held to be masked.
func (c *Core) copyLine(o *owed, frame []byte, alias bool) {
	out := c.copyOut
	if out.raw && !(alias && !out.header) && !o.judged.rules.detectors.May(frame[header:]) {
		out.header = false
		c.emit(frame, alias)
		return
	}
	body := frame[header:]
	c.row = append(c.row[:0], msgCopyData, 0, 0, 0, 0)
	var ok bool
	switch {
	case out.format.kind == 'b':
		ok = c.binaryTuple(o, body)
	case out.header:
		c.row = append(c.row, body...)
		ok = true
	case out.format.kind == 'c':
		ok = c.csvLine(o, body)
	default:
		ok = c.textLine(o, body)
	}
	out.header = false
	if !ok {
		c.limit(o, refusal{code: codeDenied, message: "a row of this COPY cannot be read, and so not masked",
			hint: "Use another format, or SELECT."})
		return
	}
	binary.BigEndian.PutUint32(c.row[1:], uint32(len(c.row)-1))
	c.toAgent.add(c.row)
	c.row = keepScratch(c.row)
}

// binaryHeader is the signature, flags and length of the extension that a binary COPY begins with.
const binaryHeader = 11 + 4 + 4

// binaryTuple masks a row of a binary COPY. What must be masked becomes NULL, the one value that every type has.
func (c *Core) binaryTuple(o *owed, p []byte) bool {
	out := c.copyOut
	if out.header {
		if len(p) < binaryHeader {
			return false
		}
		n := binaryHeader + int(binary.BigEndian.Uint32(p[15:]))
		if n > len(p) {
			return false
		}
		c.row = append(c.row, p[:n]...)
		p = p[n:]
		if len(p) == 0 {
			return true
		}
	}
	if len(p) < 2 {
		return false
	}
	n := int(int16(binary.BigEndian.Uint16(p)))
	c.row = append(c.row, p[:2]...)
	p = p[2:]
	for i := range n {
		if len(p) < 4 {
			return false
		}
		size := int(int32(binary.BigEndian.Uint32(p)))
		if size < -1 || size > len(p)-4 {
			return false
		}
		if size < 0 {
			c.row = append(c.row, p[:4]...)
			p = p[4:]
			continue
		}
		value := p[4 : 4+size]
		switch col := out.column(i, n); col.treatment {
		case treatDetect:
			c.row = append(append(c.row, p[:4]...), c.detected(o, value)...)
		case treatPass:
			c.row = append(c.row, p[:4+size]...)
		default:
			o.run.masked++
			c.row = append(c.row, 0xff, 0xff, 0xff, 0xff)
		}
		p = p[4+size:]
	}
	return len(p) == 0
}

// column is how column i of n is treated; where the number is not the expected one, nothing is clear.
func (out *copyOut) column(i, n int) column {
	if n != len(out.columns) {
		return column{treatment: treatMask, method: policy.MaskRedact}
	}
	return out.columns[i]
}

// detected runs the detectors over a value; the result is valid until the next call.
func (c *Core) detected(o *owed, value []byte) []byte {
	found, hits := o.judged.rules.detectors.Rewrite(c.scratch, value)
	if hits == 0 {
		return value
	}
	o.run.masked += int64(hits)
	c.scratch = keepScratch(found)
	return found
}
