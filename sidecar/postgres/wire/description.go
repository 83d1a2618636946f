package wire

import (
	"bytes"

	"encoding/binary"

	"github.com/jackc/pgproto3/v2"

	"github.com/chaperone-dev/chaperone/sidecar/postgres/sql"
)

// description is a result's: what a RowDescription says of its columns. It is immutable.
type description struct {
	raw    []byte // the RowDescription, to see whether another is the same; nil for NoData
	fields []field
}

// field is one result column.
type field struct {
	table  uint32 // its origin's oid; 0 where it is not plainly a column
	attnum int16
	typ    uint32
	typmod int32
	format int16 // as a RowDescription says; a statement's says text
}

// describe reads a RowDescription, or finds that it is the same as one read before.
func describe(frame []byte, before *description) (*description, error) {
	if before != nil && bytes.Equal(before.raw, frame) {
		return before, nil
	}
	var m pgproto3.RowDescription
	if err := m.Decode(frame[header:]); err != nil {
		return nil, err
	}
	d := &description{raw: bytes.Clone(frame), fields: make([]field, len(m.Fields))}
	for i, f := range m.Fields {
		d.fields[i] = field{table: f.TableOID, attnum: int16(f.TableAttributeNumber), typ: f.DataTypeOID, typmod: f.TypeModifier, format: f.Format}
	}
	return d, nil
}

// rowDescription handles RowDescription.
func (c *Core) rowDescription(o *owed, frame, body []byte, alias bool) {
	switch o.kind {
	case answerDescribeStatement, answerDescribePortal:
		before := o.describes.described
		j := o.describes.judged
		if before == nil && j != nil {
			before = j.results.bound.described
		}
		d, err := describe(frame, before)
		if err != nil {
			c.brokenf("a RowDescription that cannot be read: %v", err)
			return
		}
		if j != nil {
			j.results.bound.described = d
		}
		// A portal's has the portal's formats; the statement keeps the columns alone.
		o.describes.described = d
		if !o.hidden {
			c.emit(frame, alias)
		}
		c.done()
	case answerQuery:
		if o.refresh != nil {
			return
		}
		before := o.run.described
		if before == nil {
			before = o.judged.results.described
		}
		d, err := describe(frame, before)
		if err != nil {
			c.brokenf("a RowDescription that cannot be read: %v", err)
			return
		}
		o.run.described = d
		o.run.plan = c.planQuery(o, d)
		c.emit(frame, alias)
	default:
		c.brokenf("RowDescription out of turn")
	}
}

// noData handles NoData, the description of a statement without a result.
func (c *Core) noData(o *owed, frame []byte, alias bool) {
	if o.kind != answerDescribeStatement && o.kind != answerDescribePortal {
		c.brokenf("NoData out of turn")
		return
	}
	o.describes.described = &description{}
	if !o.hidden {
		c.emit(frame, alias)
	}
	c.done()
}

// parameterDescription handles ParameterDescription, the first answer to the Describe of a statement.
func (c *Core) parameterDescription(o *owed, frame, body []byte, alias bool) {
	if o.kind != answerDescribeStatement || len(body) < 2 || len(body) != 2+4*int(binary.BigEndian.Uint16(body)) {
		c.brokenf("ParameterDescription out of turn or cut short")
		return
	}
	types := make([]uint32, 0, (len(body)-2)/4)
	for p := body[2:]; len(p) > 0; p = p[4:] {
		types = append(types, binary.BigEndian.Uint32(p))
	}
	o.describes.types = types
	c.emit(frame, alias)
}

// mayReturn tells whether a statement's execution may give rows.
func (j *judged) mayReturn(s *statement) bool {
	if j.unknown || s.bySQL || len(j.parts) != 1 {
		return true
	}
	p := &j.parts[0]
	return p.ReturnsRows || p.Kind == sql.KindCall
}
