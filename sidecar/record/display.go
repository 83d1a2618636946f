package record

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Display lets through what shows something on a terminal and nothing else, so that a recording cannot attack the
// terminal that replays it: no requests that the terminal would answer as if typed, no clipboard, no titles, no
// device strings, no keyboard or mouse modes. Sequences may be split over several calls. ECMA-48; xterm's control
// sequences. Its zero value is ready.
type Display struct {
	state displayState
	seq   []byte // the parameters of a control sequence, without ESC [
}

type displayState uint8

const (
	onText    displayState = iota
	onEscape               // behind ESC
	onCharset              // behind ESC ( or ESC )
	onControl              // behind ESC [
	onString               // in an OSC, DCS, SOS, PM or APC string
	onStringEscape
)

// longestControl bounds a control sequence; what is longer is dropped.
const longestControl = 64

// Restore ends what a replay may have left behind: colours, character sets, alternate screen, hidden cursor,
// scrolling region, modes.
const Restore = "\x1b[0m\x1b(B\x0f\x1b[r\x1b[?1049l\x1b[?25h\x1b[?7h\x1b[?1l\x1b[4l\x1b>"

// Filter returns what of s may be shown.
func (d *Display) Filter(s string) string {
	var b strings.Builder
	b.Grow(len(s))
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		d.next(&b, r, s[i:i+n])
		i += n
	}
	return b.String()
}

func (d *Display) next(b *strings.Builder, r rune, raw string) {
	// ESC, CAN and SUB end whatever was under way (ECMA-48; DEC STD 070).
	switch {
	case r == 0x1B && d.state == onString:
		d.state = onStringEscape
		return
	case r == 0x1B:
		d.state = onEscape
		return
	case r == 0x18 || r == 0x1A:
		d.state = onText
		return
	}
	switch d.state {
	case onText:
		if shows(r, raw) {
			b.WriteString(raw)
		}
	case onEscape:
		d.escape(b, r)
	case onCharset:
		d.state = onText
		if r == 'B' || r == '0' || r == 'A' {
			b.WriteString("\x1b" + string(d.seq) + string(r))
		}
	case onControl:
		d.control(b, r)
	case onString:
		if r == 0x07 || r == 0x9C {
			d.state = onText
		}
	case onStringEscape:
		d.state = onText // ST is ESC \; any other escape ends the string too
		if r != '\\' {
			d.state = onEscape
			d.escape(b, r)
		}
	}
}

// shows: printable characters, and the controls that move the cursor or shift between character sets.
func shows(r rune, raw string) bool {
	switch {
	case r == utf8.RuneError && len(raw) == 1:
		return false
	case r >= 0x08 && r <= 0x0F: // BS HT LF VT FF CR SO SI
		return true
	case r >= 0x202A && r <= 0x202E || r >= 0x2066 && r <= 0x2069: // direction of text
		return false
	}
	return unicode.IsPrint(r) || unicode.Is(unicode.Cf, r) || unicode.Is(unicode.Zs, r)
}

func (d *Display) escape(b *strings.Builder, r rune) {
	d.state = onText
	switch r {
	case '[':
		d.state, d.seq = onControl, d.seq[:0]
	case ']', 'P', 'X', '^', '_':
		d.state = onString
	case '(', ')':
		d.state, d.seq = onCharset, append(d.seq[:0], byte(r))
	case '7', '8', 'D', 'E', 'M', 'H', '=', '>': // cursor, index, tab stop, keypad
		b.WriteByte(0x1B)
		b.WriteRune(r)
	}
}

func (d *Display) control(b *strings.Builder, r rune) {
	if r < 0x20 || r > 0x7E {
		if r >= 0x08 && r <= 0x0D { // a terminal acts on these even here
			b.WriteRune(r)
		}
		return
	}
	d.seq = append(d.seq, byte(r))
	if r < 0x40 {
		if len(d.seq) > longestControl {
			d.state = onString // swallow the rest up to its end
		}
		return
	}
	d.state = onText
	if showsControl(string(d.seq[:len(d.seq)-1]), byte(r)) {
		b.WriteString("\x1b[")
		b.Write(d.seq)
	}
}

// showsControl tells whether a control sequence only moves, erases, scrolls or colours.
func showsControl(parameters string, final byte) bool {
	switch {
	case final == 'h' || final == 'l':
		return showsMode(parameters)
	case numbers(parameters):
		return strings.IndexByte("@ABCDEFGHIJKLMPSTXZ`abdefgmrsu", final) >= 0
	case final == 'q': // the cursor's shape
		before, ok := strings.CutSuffix(parameters, " ")
		return ok && numbers(before)
	case final == 'J' || final == 'K': // selective erasure
		behind, ok := strings.CutPrefix(parameters, "?")
		return ok && numbers(behind)
	}
	return false
}

func numbers(s string) bool { return strings.Trim(s, "0123456789:;") == "" }

// showsMode: insert mode; cursor keys, autowrap, cursor blinking and visibility, alternate screen.
func showsMode(parameters string) bool {
	private, isPrivate := strings.CutPrefix(parameters, "?")
	if !isPrivate {
		return parameters == "4"
	}
	for _, mode := range strings.Split(private, ";") {
		switch mode {
		case "1", "7", "12", "25", "47", "1047", "1048", "1049":
		default:
			return false
		}
	}
	return true
}
