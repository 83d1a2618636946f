package mask

import (
	"encoding/binary"
	"math/bits"
)

// cardRun returns the next run of digits and separators in which a card number could begin, or -1. Printed in groups, one
// has four digits, a separator and three digits more, or six, a separator and thirteen (see grouped), else at least
// twelve in a row. Where such digits are is found for 48 bytes at once; in a few bytes, any run of that length will do.
func cardRun(src []byte, from int) (start, end int) {
	if len(src)-from <= fewBytes {
		return run(src, from, shortestCard, classDigit|classSep)
	}
	for spot := cardSpot(src, from); spot >= 0; spot = cardSpot(src, end) {
		start, end = spot, spot
		for start > from && class[src[start-1]]&(classDigit|classSep) != 0 {
			start--
		}
		for end < len(src) && class[src[end]]&(classDigit|classSep) != 0 {
			end++
		}
		if end-start >= shortestCard {
			return start, end
		}
		end = max(end, spot+1) // what was taken for a separator is none
	}
	return -1, -1
}

// fewBytes is up to how many bytes strides are faster than 48 at once.
const fewBytes = 64

// cardSpot returns where the next such digits begin, or -1.
func cardSpot(src []byte, from int) int {
	if len(src)-from < shortestCard {
		return -1
	}
	// Of the 64 bytes that are looked at, what begins in the first 48 is whole.
	const step = 48
	var last [64]byte
	digits, marks := digitsAndMarks(first(src[from:], &last)[:16])
	for {
		p := first(src[from:], &last)
		d0, m0 := eight(p[16:])
		d1, m1 := eight(p[24:])
		d2, m2 := eight(p[32:])
		d3, m3 := eight(p[40:])
		d4, m4 := eight(p[48:])
		d5, m5 := eight(p[56:])
		digits |= d0<<16 | d1<<24 | d2<<32 | d3<<40 | d4<<48 | d5<<56
		marks |= m0<<16 | m1<<24 | m2<<32 | m3<<40 | m4<<48 | m5<<56
		two := digits & (digits >> 1)
		three, four := two&(digits>>2), two&(two>>2)
		six := four & (two >> 4)
		if spots := six&(six>>6) | four&(marks>>4)&(three>>5) | six&(marks>>6)&(three>>7); spots != 0 {
			return from + bits.TrailingZeros64(spots)
		}
		if from += step; len(src)-from < shortestCard {
			return -1
		}
		digits, marks = digits>>step, marks>>step
	}
}

// first returns the first 64 bytes of p, filled up with zeros in last where there are fewer.
func first(p []byte, last *[64]byte) *[64]byte {
	if len(p) >= 64 {
		return (*[64]byte)(p)
	}
	clear(last[copy(last[:], p):])
	return last
}

func digitsAndMarks(p []byte) (digits, marks uint64) {
	d0, m0 := eight(p)
	d1, m1 := eight(p[8:])
	return d0 | d1<<8, m0 | m1<<8
}

// eight tells, by a bit each, which of eight bytes are digits, and which are separators or another of the marks !$%(),
// that differ from them in two bits.
func eight(p []byte) (digits, marks uint64) {
	const ones, highs, gather = 0x0101010101010101, 0x8080808080808080, 0x0102040810204080
	w := binary.LittleEndian.Uint64(p)
	// The highest bit of a byte below 0x80 is set by adding 0x80-n where the byte is n or more. The product moves what are
	// then the lowest bits of all bytes side by side into the highest byte.
	digit := w ^ ones*'0'
	digits = ^(digit&^highs + ones*(0x80-10) | digit) & highs >> 7 * gather >> 56
	mark := w&^(ones*(' '^'-')) ^ ones*' '
	marks = ^(mark&^highs + ones*0x7f | mark) & highs >> 7 * gather >> 56
	return digits, marks
}
