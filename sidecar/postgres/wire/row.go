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

// over enforces the policy's limits on one statement's result, which a portal may give in several portions.
func (c *Core) over(o *owed) bool {
	l := &o.judged.rules.settings.Limits
	rows, bytes := o.before()
	ran := ""
	if !o.judged.reads {
		ran = " The statement has run: what it changes is changed, unless its transaction is rolled back."
	}
	switch {
	case l.Rows > 0 && rows+o.run.rows > l.Rows:
		c.limit(o, refusal{code: codeLimit, message: fmt.Sprintf("the result has more than %d rows", l.Rows),
			detail: "The policy says limits.rows.", hint: "Ask for fewer rows, with LIMIT or a narrower condition." + ran})
	case l.Bytes > 0 && bytes+o.run.bytes > l.Bytes:
		c.limit(o, refusal{code: codeLimit, message: fmt.Sprintf("the result has more than %d bytes", l.Bytes),
			detail: "The policy says limits.bytes.", hint: "Ask for fewer rows or columns." + ran})
	default:
		return false
	}
	return true
}

// before is what came of a result in earlier portions.
func (o *owed) before() (rows, bytes int64) {
	if o.of == nil {
		return 0, 0
	}
	return o.of.rows, o.of.bytes
}

// portion notes that more of the result may come in another one.
func (o *owed) portion() {
	if o.of != nil {
		o.of.rows += o.run.rows
		o.of.bytes += o.run.bytes
	}
}

// limit ends a result in an error of our own. The server is told to cancel what it still does, and what it sends
// up to the ReadyForQuery is dropped.
func (c *Core) limit(o *owed, r refusal) {
	o.run.rows--
	o.portion()
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
	masked, rebuilt, ok := c.maskRow(o, p, frame)
	if !ok {
		c.brokenf("a row that cannot be read")
		return
	}
	o.run.masked += masked
	if !rebuilt {
		c.emit(frame, alias)
	}
}

// maskRow masks a DataRow. What keeps its length is replaced in place; where something does not, the row has been sent
// on rebuilt.
func (c *Core) maskRow(o *owed, p *plan, frame []byte) (masked int64, rebuilt, ok bool) {
	detectors := o.judged.rules.detectors
	body := frame[header:]
	if len(body) < 2 {
		return 0, false, false
	}
	n := int(binary.BigEndian.Uint16(body))
	known := n == len(p.columns)
	var (
		buf   []byte // the agent's, once the row is rebuilt there: from start on
		start int
		done  int // how much of frame is in buf
	)
	at := header + 2
	for i := range n {
		if len(frame)-at < 4 {
			return 0, false, false
		}
		size := int(int32(binary.BigEndian.Uint32(frame[at:])))
		if size < -1 || size > len(frame)-at-4 {
			return 0, false, false
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
		var found []byte // what takes the value's place
		switch col.treatment {
		case treatDetect:
			var hits int
			if found, hits = detectors.Field(c.scratch, col.typ, col.format, value); hits == 0 {
				at += 4 + size
				continue
			}
			masked += int64(hits)
			c.scratch = keepScratch(found)
			if len(found) != size {
				masked++
				found, col.treatment = nil, treatNull
			}
		case treatMask:
			masked++
			out, null, err := c.masker.Append(c.scratch[:0], col.method, col.typ, col.typmod, col.format, value)
			if null || err != nil { // what cannot be masked so that it stays valid is NULL
				col.treatment = treatNull
				break
			}
			found, c.scratch = out, keepScratch(out)
		case treatNull:
			masked++
		default:
			at += 4 + size
			continue
		}
		if col.treatment != treatNull && len(found) == size {
			copy(value, found)
			at += 4 + size
			continue
		}
		if !rebuilt {
			rebuilt, buf = true, c.toAgent.own()
			start = len(buf)
		}
		buf = append(buf, frame[done:at]...)
		if col.treatment == treatNull {
			buf = append(buf, 0xff, 0xff, 0xff, 0xff)
		} else {
			buf = append(binary.BigEndian.AppendUint32(buf, uint32(len(found))), found...)
		}
		at += 4 + size
		done = at
	}
	if at != len(frame) {
		return 0, false, false
	}
	if rebuilt {
		buf = append(buf, frame[done:]...)
		binary.BigEndian.PutUint32(buf[start+1:], uint32(len(buf)-start-1))
		c.toAgent.put(buf)
	}
	return masked, rebuilt, true
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
	if kind == msgPortalSuspended {
		o.portion()
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
	e := record.Event{
		Kind: record.KindResult, Command: r.command, Tag: tag, Rows: r.rows, Bytes: r.bytes, Masked: r.masked,
		SQLSTATE: sqlstate, Error: text,
	}
	if c.later {
		c.postpone(deferred{result: e})
	} else {
		_ = c.record(e) // whether it was kept shows at the next command
	}
	r.rows, r.bytes, r.masked = 0, 0, 0
}
