package secret

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// Rewriter replaces the values of Secrets in JSON texts that arrive in pieces, one after another as in a watch:
// every string below a key data or stringData, wherever it is outside of metadata, and the same in annotations that
// hold JSON themselves (what kubectl apply remembers). Nothing is left out where the two could be confused: what is no
// JSON is an error. Not for several goroutines.
type Rewriter struct {
	// Values counts the values replaced.
	Values int64

	levels []level
	expect expectation
	text   []byte // the string that is being read, quotes included, where it is needed
	keep   bool   // text is wanted
	inText bool
	escape bool // behind a backslash
	word   bool // inside a number or literal
	nested int  // how many texts this one is in
}

// level is an object or array that is open.
type level struct {
	array       bool
	hidden      bool // strings in it are values of a Secret
	base64      bool // and are in base64
	metadata    bool
	annotations bool
	key         string
}

type expectation uint8

const (
	value expectation = iota
	key
	keyOrEnd // first in an object
	colon
	comma
)

const (
	maxDepth = 128
	// maxKey is more than any key that means something; a longer one is cut.
	maxKey = 1 << 10
	// maxAnnotation bounds an annotation that is read as JSON; all of an object's have 256 KiB (apimachinery,
	// TotalAnnotationSizeLimitB), escaped at most six times as long.
	maxAnnotation = 6 * 256 << 10
	// maxNested: what kubectl remembers of an object holds none of its own memory.
	maxNested = 2
)

var errSyntax = errors.New("an answer that is no JSON")

// Write takes the next piece and appends what can be passed on to dst.
func (r *Rewriter) Write(dst, piece []byte) ([]byte, error) {
	var err error
	for i := 0; i < len(piece); i++ {
		c := piece[i]
		if r.inText {
			// Most of a large answer is text: go to its end in one step.
			n := len(piece) - i
			if !r.escape {
				if end := bytes.IndexAny(piece[i:], `"\`); end >= 0 {
					n = end
				}
			} else {
				n = 0
			}
			if n > 0 {
				if dst, err = r.inside(dst, piece[i:i+n]); err != nil {
					return dst, err
				}
				i += n
				if i == len(piece) {
					break
				}
				c = piece[i]
			}
			if dst, err = r.inside(dst, piece[i:i+1]); err != nil {
				return dst, err
			}
			switch {
			case r.escape:
				r.escape = false
			case c == '\\':
				r.escape = true
			case c == '"':
				if dst, err = r.endText(dst); err != nil {
					return dst, err
				}
			}
			continue
		}
		if dst, err = r.structure(dst, c); err != nil {
			return dst, err
		}
	}
	return dst, nil
}

// Close tells whether the last text was whole.
func (r *Rewriter) Close() error {
	if r.inText || len(r.levels) > 0 {
		return fmt.Errorf("%w: it ends too early", errSyntax)
	}
	return nil
}

// top is the innermost level; nil outside of all.
func (r *Rewriter) top() *level {
	if len(r.levels) == 0 {
		return nil
	}
	return &r.levels[len(r.levels)-1]
}

// structure takes a byte outside of strings.
func (r *Rewriter) structure(dst []byte, c byte) ([]byte, error) {
	switch c {
	case ' ', '\t', '\r', '\n':
		r.endWord()
		return append(dst, c), nil
	case '{', '[':
		if r.expect != value || r.word {
			return dst, errSyntax
		}
		return append(dst, c), r.open(c == '[')
	case '}', ']':
		r.endWord()
		top := r.top()
		if top == nil || top.array != (c == ']') || r.expect != comma && r.expect != keyOrEnd && (!top.array || r.expect != value) {
			return dst, errSyntax
		}
		r.levels = r.levels[:len(r.levels)-1]
		r.ended()
		return append(dst, c), nil
	case ',':
		r.endWord()
		top := r.top()
		if top == nil || r.expect != comma {
			return dst, errSyntax
		}
		if r.expect = key; top.array {
			r.expect = value
		}
		return append(dst, c), nil
	case ':':
		if r.expect != colon {
			return dst, errSyntax
		}
		r.expect = value
		return append(dst, c), nil
	case '"':
		return r.beginText(dst)
	}
	if r.expect != value || !isWord(c) {
		return dst, errSyntax
	}
	r.word = true
	return append(dst, c), nil
}

// isWord: what numbers, true, false and null are made of.
func isWord(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c == 'E' || c == '-' || c == '+' || c == '.'
}

func (r *Rewriter) endWord() {
	if r.word {
		r.word = false
		r.ended()
	}
}

// ended notes that a value is over.
func (r *Rewriter) ended() {
	if r.expect = comma; len(r.levels) == 0 {
		r.expect = value
	}
}

func (r *Rewriter) open(array bool) error {
	if len(r.levels) == maxDepth {
		return fmt.Errorf("an answer of more than %d levels", maxDepth)
	}
	next := level{array: array}
	if top := r.top(); top != nil {
		next.hidden, next.base64, next.metadata = top.hidden, top.base64, top.metadata
		if array {
			next.key = top.key // what an array is in, its elements are in
		}
		if !top.array {
			switch {
			case top.hidden:
			case !top.metadata && secretKey(top.key):
				next.hidden, next.base64 = true, top.key == "data"
			case top.key == "metadata":
				next.metadata = true
			case top.metadata && top.key == "annotations":
				next.annotations = true
			}
		}
	}
	r.levels = append(r.levels, next)
	if r.expect = keyOrEnd; array {
		r.expect = value
	}
	return nil
}

func secretKey(k string) bool { return k == "data" || k == "stringData" }

// beginText begins a string.
func (r *Rewriter) beginText(dst []byte) ([]byte, error) {
	if r.word || r.expect != value && r.expect != key && r.expect != keyOrEnd {
		return dst, errSyntax
	}
	r.inText = true
	top := r.top()
	switch {
	case r.expect != value:
		r.keep = true
	case top == nil:
		r.keep = false
	case r.hides(top):
		r.text, r.keep = r.text[:0], false
		return dst, nil
	case top.annotations:
		r.text, r.keep = append(r.text[:0], '"'), true
		return dst, nil
	}
	r.text = append(r.text[:0], '"')
	return append(dst, '"'), nil
}

// hides tells whether a string that is a value at this level is a Secret's.
func (r *Rewriter) hides(l *level) bool {
	return l.hidden || !l.array && !l.metadata && secretKey(l.key)
}

// inside takes bytes of a string.
func (r *Rewriter) inside(dst, s []byte) ([]byte, error) {
	top := r.top()
	isKey := r.expect != value
	if !isKey && top != nil && r.hides(top) {
		return dst, nil
	}
	if r.keep {
		limit := maxKey
		if !isKey {
			limit = maxAnnotation
		}
		if len(r.text)+len(s) > limit {
			if !isKey {
				return dst, fmt.Errorf("an annotation of more than %d bytes", maxAnnotation)
			}
			s2 := s[:max(0, limit-len(r.text))]
			r.text = append(r.text, s2...)
			return append(dst, s...), nil
		}
		r.text = append(r.text, s...)
	}
	if !isKey && top != nil && top.annotations {
		return dst, nil
	}
	return append(dst, s...), nil
}

// endText ends a string; its closing quote has been taken.
func (r *Rewriter) endText(dst []byte) ([]byte, error) {
	r.inText = false
	top := r.top()
	if r.expect != value {
		name, err := unquote(r.text)
		if err != nil {
			// It was cut: no key that means something is so long.
			name = ""
		}
		top.key, r.expect = name, colon
		return dst, nil
	}
	defer r.ended()
	switch {
	case top == nil:
		return dst, nil
	case r.hides(top):
		r.Values++
		if top.base64 || !top.hidden && top.key == "data" {
			return append(append(append(dst, '"'), encoded...), '"'), nil
		}
		return append(append(append(dst, '"'), Text...), '"'), nil
	case top.annotations:
		return r.annotation(dst)
	}
	return dst, nil
}

// annotation passes on an annotation's value, and one that holds JSON as that is rewritten.
func (r *Rewriter) annotation(dst []byte) ([]byte, error) {
	text, err := unquote(r.text)
	if err != nil {
		return dst, fmt.Errorf("an annotation that is no string: %w", err)
	}
	inner := bytes.TrimLeft([]byte(text), " \t\r\n")
	if len(inner) == 0 || inner[0] != '{' && inner[0] != '[' {
		return append(dst, r.text...), nil
	}
	within := &Rewriter{nested: r.nested + 1}
	out := []byte(Text)
	if within.nested <= maxNested {
		if rewritten, err := within.Write(nil, inner); err == nil && within.Close() == nil {
			if within.Values == 0 {
				return append(dst, r.text...), nil
			}
			out = rewritten
		}
	}
	r.Values += max(within.Values, 1)
	quoted, err := json.Marshal(string(out))
	if err != nil {
		return dst, err
	}
	return append(dst, quoted...), nil
}

func unquote(text []byte) (string, error) {
	if len(text) < 2 || text[len(text)-1] != '"' {
		return "", errSyntax
	}
	if bytes.IndexByte(text, '\\') < 0 {
		return string(text[1 : len(text)-1]), nil
	}
	var s string
	err := json.Unmarshal(text, &s)
	return s, err
}
