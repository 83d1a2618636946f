package wire

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"hash"
	"strconv"
	"unicode/utf8"
)

// bindStage is where in a Bind's body the reader is.
type bindStage uint8

const (
	bindFormatCount bindStage = iota
	bindFormats
	bindValueCount
	bindValueLength
	bindValue
	bindResultCount
	bindResults
	bindDone
)

// Of the bound values a person sees at most maxShownValue bytes of each and maxShown in all.
const (
	maxShownValue = 256
	maxShown      = 2 << 10
)

var errBind = errors.New("invalid Bind message")

// binding reads a Bind message behind its two names, in pieces of any size: it checks the structure, hashes
// what the values are, and keeps what a person sees of them. (pgproto3's own decoder trusts the lengths.)
type binding struct {
	left   int // bytes of the message still to come
	stage  bindStage
	carry  [4]byte // an integer that was cut
	have   int
	count  int // of what the stage repeats
	value  int // bytes of the value still to come
	number int // of the value, from 1
	paramF []int16
	result []int16
	types  []uint32
	hash   hash.Hash
	shown  []byte
	excess int    // bytes of the value that are not shown
	head   []byte // of the value, to be shown
	portal *portal
	skim   bool // check alone: nothing is hashed or shown
}

// reset begins a Bind with left bytes behind its names. declared are the parameter types of the Parse, as sent, and
// types those that the server reported, where it did.
func (b *binding) reset(left int, declared []byte, types []uint32) {
	h := b.hash
	if h == nil {
		h = sha256.New()
	}
	h.Reset()
	h.Write(declared)
	if types == nil && len(declared) > 2 {
		for p := declared[2:]; len(p) >= 4; p = p[4:] {
			types = append(types, binary.BigEndian.Uint32(p))
		}
	}
	*b = binding{left: left, types: types, hash: h, paramF: b.paramF[:0], result: b.result[:0], shown: b.shown[:0], head: b.head[:0]}
}

// check begins a Bind of which only the structure and the result formats are asked for, and takes it whole.
func (b *binding) check(values []byte) error {
	*b = binding{left: len(values), hash: b.hash, paramF: b.paramF[:0], result: b.result[:0], shown: b.shown[:0], head: b.head[:0], skim: true}
	return b.write(values)
}

// write takes the next piece.
func (b *binding) write(p []byte) error {
	b.left -= len(p)
	for len(p) > 0 {
		if b.stage == bindValue {
			n := min(len(p), b.value)
			b.take(p[:n])
			p = p[n:]
			if b.value == 0 {
				b.endValue()
			}
			continue
		}
		if b.stage == bindDone {
			return errBind
		}
		size := 2
		if b.stage == bindValueLength {
			size = 4
		}
		n := copy(b.carry[b.have:size], p)
		b.have += n
		p = p[n:]
		if b.have < size {
			break
		}
		b.have = 0
		if err := b.integer(b.carry[:size]); err != nil {
			return err
		}
	}
	if b.left == 0 && b.stage != bindDone {
		return errBind
	}
	return nil
}

// integer takes a complete integer of the stage. Everything up to the values' end is hashed: formats, count,
// lengths and values fix what the statement runs with.
func (b *binding) integer(raw []byte) error {
	if b.stage < bindResultCount && !b.skim {
		b.hash.Write(raw)
	}
	n := int(binary.BigEndian.Uint16(raw))
	switch b.stage {
	case bindFormatCount:
		b.count, b.stage = n, bindFormats
	case bindFormats:
		b.paramF = append(b.paramF, int16(n))
		b.count--
	case bindValueCount:
		if len(b.paramF) > 1 && len(b.paramF) != n {
			return errBind
		}
		b.count, b.stage = n, bindValueLength
	case bindValueLength:
		b.number++
		length := int(int32(binary.BigEndian.Uint32(raw)))
		if length < -1 {
			return errBind
		}
		b.count--
		if length < 0 {
			if !b.skim && b.name() {
				b.shown = append(b.shown, "NULL"...)
			}
			break
		}
		b.value, b.stage, b.head, b.excess = length, bindValue, b.head[:0], 0
		if length == 0 {
			b.endValue()
			return nil
		}
	case bindResultCount:
		b.count, b.stage = n, bindResults
	case bindResults:
		if n > 1 {
			return errBind
		}
		b.result = append(b.result, int16(n))
		b.count--
	}
	b.advance()
	return nil
}

// advance leaves a stage that repeats nothing more.
func (b *binding) advance() {
	for b.count == 0 {
		switch b.stage {
		case bindFormats:
			b.stage = bindValueCount
			return
		case bindValueLength:
			b.stage = bindResultCount
			return
		case bindResults:
			b.stage = bindDone
			return
		default:
			return
		}
	}
}

func (b *binding) take(p []byte) {
	b.value -= len(p)
	if b.skim {
		return
	}
	b.hash.Write(p)
	if room := min(maxShownValue, maxShown-len(b.shown)) - len(b.head); room > 0 {
		n := min(room, len(p))
		b.head = append(b.head, p[:n]...)
		b.excess += len(p) - n
	} else {
		b.excess += len(p)
	}
}

func (b *binding) endValue() {
	b.stage = bindValueLength
	if !b.skim && b.name() {
		b.shown = b.render(b.shown)
	}
	b.advance()
}

// name shows the value's number; false where nothing more is shown.
func (b *binding) name() bool {
	if len(b.shown) > maxShown {
		return false
	}
	if b.number > 1 {
		b.shown = append(b.shown, ", "...)
	}
	b.shown = append(b.shown, '$')
	b.shown = strconv.AppendInt(b.shown, int64(b.number), 10)
	b.shown = append(b.shown, " = "...)
	return true
}

func (b *binding) format(number int) int16 {
	switch {
	case len(b.paramF) == 1:
		return b.paramF[0]
	case number <= len(b.paramF):
		return b.paramF[number-1]
	}
	return 0
}

// render appends a value as a person reads it.
func (b *binding) render(dst []byte) []byte {
	var typ uint32
	if b.number <= len(b.types) {
		typ = b.types[b.number-1]
	}
	switch binaryFormat := b.format(b.number) != 0; {
	case binaryFormat && b.excess == 0 && typ == 16 && len(b.head) == 1: // bool
		return strconv.AppendBool(dst, b.head[0] != 0)
	case binaryFormat && b.excess == 0 && typ == 21 && len(b.head) == 2: // int2
		return strconv.AppendInt(dst, int64(int16(binary.BigEndian.Uint16(b.head))), 10)
	case binaryFormat && b.excess == 0 && typ == 23 && len(b.head) == 4: // int4
		return strconv.AppendInt(dst, int64(int32(binary.BigEndian.Uint32(b.head))), 10)
	case binaryFormat && b.excess == 0 && typ == 20 && len(b.head) == 8: // int8
		return strconv.AppendInt(dst, int64(binary.BigEndian.Uint64(b.head)), 10)
	case binaryFormat && (typ != 25 && typ != 1043 && typ != 114 || !utf8.Valid(b.head)):
		const digits = "0123456789abcdef"
		dst = append(dst, `'\x`...)
		for _, c := range b.head {
			dst = append(dst, digits[c>>4], digits[c&15])
		}
		dst = append(dst, '\'')
	default:
		head := b.head
		if b.excess > 0 { // no half character at the cut
			for i := 0; i < utf8.UTFMax && len(head) > 0 && !utf8.Valid(head); i++ {
				head = head[:len(head)-1]
			}
		}
		dst = append(dst, '\'')
		for _, c := range head {
			if c == '\'' {
				dst = append(dst, '\'')
			}
			dst = append(dst, c)
		}
		dst = append(dst, '\'')
	}
	if b.excess > 0 {
		dst = append(dst, " ("...)
		dst = strconv.AppendInt(dst, int64(len(b.head)+b.excess), 10)
		dst = append(dst, " bytes)"...)
	}
	return dst
}
