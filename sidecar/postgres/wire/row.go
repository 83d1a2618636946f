package wire

import (
	"encoding/binary"
	"fmt"

	"github.com/chaperone-dev/chaperone/sidecar/mask"
	"github.com/chaperone-dev/chaperone/sidecar/record"
)

// execution is a command on its way through the server.
type execution struct {
	command   uint64 // its number in the recording; 0: it has its result
	named     []*statement
	granted   ruleName
	part      int // which statement of the query string answers now
	described *description
	plan      *plan
	rows      int64
	bytes     int64
	masked    int64
}

// classifyRow says how to handle a DataRow.
func (c *Core) classifyRow(size int) mode {
	o := c.queue.front()
	if o == nil {
		c.brokenf("a row of no result")
		return modeDrop
	}
	if o.refresh != nil {
		return modeHold
	}
	if c.dropping {
		return modeDrop
	}
	r := &o.run
	if r.plan == nil {
		if o.kind != answerExecute {
			c.brokenf("a row of a result that was not described")
			return modeDrop
		}
		r.plan = c.planFor(o)
	}
	r.rows++
	r.bytes += int64(size)
	if c.over(o) {
		return modeDrop
	}
	switch {
	case r.plan.pass:
		return modePass
	case size > c.bounds.held:
		c.beginLongRow(r.plan, size)
		return modeStream
	case r.plan.detect:
		return modeScan
	}
	return modeHold
}

// detectors are those of the result that comes now.
func (c *Core) detectors() *mask.Detectors { return c.queue.front().judged.rules.detectors }

// over enforces the policy's limits on one statement's result.
func (c *Core) over(o *owed) bool {
	l := &o.judged.rules.settings.Limits
	switch {
	case l.Rows > 0 && o.run.rows > l.Rows:
		c.limit(o, refusal{code: codeLimit, message: fmt.Sprintf("the result has more than %d rows", l.Rows),
			detail: "The policy says limits.rows.", hint: "Ask for fewer rows, with LIMIT or a narrower condition."})
	case l.Bytes > 0 && o.run.bytes > l.Bytes:
		c.limit(o, refusal{code: codeLimit, message: fmt.Sprintf("the result has more than %d bytes", l.Bytes),
			detail: "The policy says limits.bytes.", hint: "Ask for fewer rows or columns."})
	default:
		return false
	}
	return true
}

// limit ends a result in an error of our own. The server is told to cancel what it still does, and what it sends
// up to the ReadyForQuery is dropped.
func (c *Core) limit(o *owed, r refusal) {
	o.run.rows--
	c.toAgent.put(encodeError(c.toAgent.own(), "ERROR", r))
	if o.run.command != 0 {
		c.finish(&o.run, "", r.code, r.message)
		o.run.command = 0
	}
	c.dropping, c.cancel = true, true
	if o.kind == answerExecute && c.segment.number == o.segment {
		c.segment.skip = true
	}
}

// dataRow handles a row that is held: one of our own queries', or one to be masked.
func (c *Core) dataRow(o *owed, frame []byte, alias bool) {
	if o.refresh != nil {
		o.refresh.row(frame[header:])
		return
	}
	p := o.run.plan
	if p.detect && !alias && !o.judged.rules.detectors.May(frame[header:]) { // others were looked at before
		c.emit(frame, alias)
		return
	}
	out, masked, ok := c.maskRow(o, p, frame)
	if !ok {
		c.brokenf("a row that cannot be read")
		return
	}
	o.run.masked += masked
	if out == nil {
		c.emit(frame, alias)
	} else {
		c.toAgent.add(out)
	}
}

// maskRow masks a DataRow. What keeps its length is replaced in place; out is nil when that was enough, else a
// frame that is valid until the next call.
func (c *Core) maskRow(o *owed, p *plan, frame []byte) (out []byte, masked int64, ok bool) {
	detectors := o.judged.rules.detectors
	body := frame[header:]
	if len(body) < 2 {
		return nil, 0, false
	}
	n := int(binary.BigEndian.Uint16(body))
	known := n == len(p.columns)
	building := false
	done := 0 // how much of frame has gone into c.row
	at := header + 2
	for i := range n {
		if len(frame)-at < 4 {
			return nil, 0, false
		}
		size := int(int32(binary.BigEndian.Uint32(frame[at:])))
		if size < -1 || size > len(frame)-at-4 {
			return nil, 0, false
		}
		if size < 0 {
			at += 4
			continue
		}
		value := frame[at+4 : at+4+size]
		col := column{treatment: treatNull}
		if known {
			col = p.columns[i]
		}
		if col.treatment == treatDetect {
			found, hits := detectors.Field(c.scratch, col.typ, col.format, value)
			if hits > 0 {
				masked += int64(hits)
				if len(found) == size {
					copy(value, found)
				} else {
					col.treatment = treatNull
				}
				c.scratch = keepScratch(found)
			}
		}
		if col.treatment == treatMask || col.treatment == treatNull {
			if !building {
				building = true
				c.row = c.row[:0]
			}
			masked++
			c.row = append(c.row, frame[done:at]...)
			c.row = c.replace(c.row, col, value)
			done = at + 4 + size
		}
		at += 4 + size
	}
	if at != len(frame) {
		return nil, 0, false
	}
	if !building {
		return nil, masked, true
	}
	c.row = append(c.row, frame[done:]...)
	binary.BigEndian.PutUint32(c.row[1:], uint32(len(c.row)-1))
	out = c.row
	if cap(c.row) > keep {
		c.row = nil
	}
	return out, masked, true
}

// replace appends a value's replacement with its length. What cannot be masked so that it stays valid is NULL.
func (c *Core) replace(dst []byte, col column, value []byte) []byte {
	start := len(dst)
	dst = append(dst, 0xff, 0xff, 0xff, 0xff)
	if col.treatment == treatNull {
		return dst
	}
	out, null, err := c.masker.Append(dst, col.method, col.typ, col.typmod, col.format, value)
	if null || err != nil {
		return dst[:start+4]
	}
	binary.BigEndian.PutUint32(out[start:], uint32(len(out)-start-4))
	return out
}

func keepScratch(b []byte) []byte {
	if cap(b) > keep {
		return nil
	}
	return b[:0]
}

// complete handles the end of a statement's result: CommandComplete, EmptyQueryResponse, PortalSuspended.
func (c *Core) complete(o *owed, frame []byte, alias bool) {
	kind := frame[0]
	if o.kind != answerExecute && (o.kind != answerQuery || kind == msgPortalSuspended) {
		c.brokenf("the end of a result out of turn")
		return
	}
	if o.refresh != nil {
		o.refresh.result++
		return
	}
	tag := ""
	if kind == msgCommandComplete {
		s, _, ok := cut(frame[header:])
		if !ok {
			c.brokenf("a command tag that does not end")
			return
		}
		if tag = c.tag; string(s) != tag { // mostly the same again
			tag = string(s)
			c.tag = tag
		}
		c.completed(o)
	}
	if o.run.command != 0 {
		c.finish(&o.run, tag, "", "")
	}
	c.emit(frame, alias)
	if o.kind == answerExecute {
		c.done()
		return
	}
	o.run.part++
	o.run.plan, o.run.described = nil, nil
	if len(o.judgedParts()) <= o.run.part {
		o.run.command = 0
	}
}

// finish records a result and makes the execution ready for the next of its statements.
func (c *Core) finish(r *execution, tag, sqlstate, text string) {
	// Whether it was kept shows at the next command.
	_ = c.cfg.Record(record.Event{
		Kind: record.KindResult, Command: r.command, Tag: tag, Rows: r.rows, Bytes: r.bytes, Masked: r.masked,
		SQLSTATE: sqlstate, Error: text,
	})
	r.rows, r.bytes, r.masked = 0, 0, 0
}
