package wire

import (
	"bytes"
	"strings"
)

// textType is the type that a COPY's masked values are taken to be of: in text and CSV they are texts.
const textType = 25

// textLine masks a row in COPY's text format: fields end at a delimiter or the newline, and a backslash takes the
// byte behind it along.
func (c *Core) textLine(o *owed, p []byte) bool {
	if len(p) == 0 || p[len(p)-1] != '\n' {
		return false
	}
	f := &c.copyOut.format
	line := p[:len(p)-1]
	if bytes.Equal(line, []byte(`\.`)) {
		c.row = append(c.row, p...)
		return true
	}
	n := 1
	for i := 0; i < len(line); i++ {
		switch line[i] {
		case '\\':
			i++
		case f.delimiter:
			n++
		case '\n':
			return false
		}
	}
	for at, start, i := 0, 0, 0; at < n; at, i = at+1, i+1 {
		for i < len(line) && line[i] != f.delimiter {
			if line[i] == '\\' {
				i++
			}
			i++
		}
		i = min(i, len(line))
		c.textField(o, c.copyOut.column(at, n), line[start:i])
		if at+1 < n {
			c.row = append(c.row, f.delimiter)
		}
		start = i + 1
	}
	c.row = append(c.row, '\n')
	return true
}

func (c *Core) textField(o *owed, col column, raw []byte) {
	f := &c.copyOut.format
	switch {
	case string(raw) == f.null, col.treatment == treatPass:
		c.row = append(c.row, raw...)
	case col.treatment == treatDetect && bytes.IndexByte(raw, '\\') >= 0:
		// What an escape stands for decides where a number or a word begins.
		c.plain = unescape(c.plain[:0], raw)
		if found := c.detected(o, c.plain); bytes.Equal(found, c.plain) {
			c.row = append(c.row, raw...)
		} else {
			c.row = appendCopyText(c.row, found, f.delimiter)
		}
		c.plain = keepScratch(c.plain)
	case col.treatment == treatDetect:
		c.row = append(c.row, c.detected(o, raw)...)
	case col.treatment == treatNull:
		o.run.masked++
		c.row = append(c.row, f.null...)
	default:
		o.run.masked++
		c.scratch = unescape(c.scratch[:0], raw)
		c.row = appendCopyText(c.row, c.replacement(col), f.delimiter)
	}
}

// replacement masks what is in scratch.
func (c *Core) replacement(col column) []byte {
	out, null, err := c.masker.Append(nil, col.method, textType, -1, 0, c.scratch)
	if null || err != nil {
		return nil
	}
	return out
}

// unescape undoes the text format's escapes (documentation of COPY, "Text Format").
func unescape(dst, raw []byte) []byte {
	for i := 0; i < len(raw); i++ {
		b := raw[i]
		if b == '\\' && i+1 < len(raw) {
			i++
			b = unescaped(raw[i])
		}
		dst = append(dst, b)
	}
	return dst
}

// copyEscapes are the letters that stand for control characters behind a backslash, and what they stand for.
const copyEscapes, copyControls = "bfnrtv", "\b\f\n\r\t\v"

// unescaped is what a byte behind a backslash stands for. A server writes no numbers there.
func unescaped(b byte) byte {
	if i := strings.IndexByte(copyEscapes, b); i >= 0 {
		return copyControls[i]
	}
	return b
}

// appendCopyText appends a value as the text format has it.
func appendCopyText(dst, value []byte, delimiter byte) []byte {
	for _, b := range value {
		switch i := strings.IndexByte(copyControls, b); {
		case i >= 0: // before the delimiter, as a server does
			dst = append(dst, '\\', copyEscapes[i])
		case b == delimiter || b == '\\':
			dst = append(dst, '\\', b)
		default:
			dst = append(dst, b)
		}
	}
	return dst
}

// csvLine masks a row in CSV: a field may be quoted, and inside quotes the escape character takes a quote or
// itself along.
func (c *Core) csvLine(o *owed, p []byte) bool {
	if len(p) == 0 || p[len(p)-1] != '\n' {
		return false
	}
	f := &c.copyOut.format
	line := p[:len(p)-1]
	n := 0
	for i := 0; i <= len(line); n++ {
		end, _, ok := f.csvField(line, i)
		if !ok {
			return false
		}
		i = end + 1
	}
	for at, i := 0, 0; at < n; at++ {
		end, quoted, _ := f.csvField(line, i)
		c.csvValue(o, c.copyOut.column(at, n), line[i:end], quoted)
		if at+1 < n {
			c.row = append(c.row, f.delimiter)
		}
		i = end + 1
	}
	c.row = append(c.row, '\n')
	return true
}

// csvField finds the end of the field that begins at start.
func (f *copyFormat) csvField(line []byte, start int) (end int, quoted, ok bool) {
	if start >= len(line) || line[start] != f.quote {
		for end = start; end < len(line) && line[end] != f.delimiter; end++ {
			if line[end] == '\n' || line[end] == f.quote {
				return 0, false, false
			}
		}
		return end, false, true
	}
	for i := start + 1; i < len(line); i++ {
		switch {
		case line[i] == f.escape && i+1 < len(line) && (line[i+1] == f.quote || line[i+1] == f.escape):
			i++
		case line[i] == f.quote:
			if i+1 < len(line) && line[i+1] != f.delimiter {
				return 0, false, false
			}
			return i + 1, true, true
		}
	}
	return 0, false, false
}

func (c *Core) csvValue(o *owed, col column, raw []byte, quoted bool) {
	f := &c.copyOut.format
	switch {
	case !quoted && string(raw) == f.null, col.treatment == treatPass:
		c.row = append(c.row, raw...)
	case col.treatment == treatDetect && !quoted:
		c.row = append(c.row, c.detected(o, raw)...)
	case col.treatment == treatDetect:
		// What is doubled or escaped decides where a number or a word begins, and where it ends.
		c.plain = f.unquote(c.plain[:0], raw)
		if found := c.detected(o, c.plain); bytes.Equal(found, c.plain) {
			c.row = append(c.row, raw...)
		} else {
			c.row = f.appendQuoted(c.row, found)
		}
		c.plain = keepScratch(c.plain)
	case col.treatment == treatNull:
		o.run.masked++
		c.row = append(c.row, f.null...)
	default:
		o.run.masked++
		if quoted {
			c.scratch = f.unquote(c.scratch[:0], raw)
		} else {
			c.scratch = append(c.scratch[:0], raw...)
		}
		c.row = f.appendQuoted(c.row, c.replacement(col))
	}
}

// unquote appends what a quoted CSV field stands for.
func (f *copyFormat) unquote(dst, raw []byte) []byte {
	inner := raw[1 : len(raw)-1]
	for i := 0; i < len(inner); i++ {
		if inner[i] == f.escape && i+1 < len(inner) && (inner[i+1] == f.quote || inner[i+1] == f.escape) {
			i++
		}
		dst = append(dst, inner[i])
	}
	return dst
}

// appendQuoted appends a value as a quoted CSV field.
func (f *copyFormat) appendQuoted(dst, value []byte) []byte {
	dst = append(dst, f.quote)
	for _, b := range value {
		if b == f.quote || b == f.escape {
			dst = append(dst, f.escape)
		}
		dst = append(dst, b)
	}
	return append(dst, f.quote)
}
