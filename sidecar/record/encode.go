package record

import (
	"strconv"
	"unicode"
	"unicode/utf8"
)

// appendEvent appends an event as a JSON line, without reflection: it runs for every command. Field names and
// omissions are those of Event's tags; a test compares the two. Every character that a terminal could act on is
// escaped.
func appendEvent(b []byte, e *Event) []byte { return appendRemembered(b, e, nil) }

// decided remembers the encoding of what commands of one rule have in common, which is most commands: it is compared
// faster than encoded.
type decided struct {
	verdict, audited, policy, rule string
	generation                     int64
	encoded                        []byte
}

// append appends verdict, audited, policy, generation, rule and message.
func (d *decided) append(b []byte, e *Event) []byte {
	if d == nil || e.Verdict == "" || e.Message != "" { // a result, or what is rare and may be long
		return appendDecided(b, e)
	}
	if d.verdict != e.Verdict || d.audited != e.Audited || d.policy != e.Policy || d.generation != e.Generation ||
		d.rule != e.Rule {
		d.verdict, d.audited, d.policy, d.generation, d.rule = e.Verdict, e.Audited, e.Policy, e.Generation, e.Rule
		d.encoded = appendDecided(d.encoded[:0], e)
	}
	return append(b, d.encoded...)
}

func appendDecided(b []byte, e *Event) []byte {
	b = appendText(b, `,"verdict":`, e.Verdict)
	b = appendText(b, `,"audited":`, e.Audited)
	b = appendText(b, `,"policy":`, e.Policy)
	b = appendInt(b, `,"generation":`, e.Generation)
	b = appendText(b, `,"rule":`, e.Rule)
	return appendText(b, `,"message":`, e.Message)
}

// appendRemembered is appendEvent with what d remembers of the events before.
func appendRemembered(b []byte, e *Event, d *decided) []byte {
	b = append(b, `{"t":`...)
	b = appendSeconds(b, e.Time)
	b = appendString(b, `,"kind":`, string(e.Kind))
	b = appendUint(b, `,"conn":`, uint64(e.Connection))
	b = appendUint(b, `,"cmd":`, e.Command)
	b = appendText(b, `,"protocol":`, e.Protocol)
	b = appendText(b, `,"peer":`, e.Peer)
	b = appendText(b, `,"user":`, e.User)
	b = appendText(b, `,"database":`, e.Database)
	b = appendText(b, `,"client":`, e.Client)
	b = appendText(b, `,"text":`, e.Text)
	b = appendInt(b, `,"textLength":`, int64(e.TextLength))
	b = appendText(b, `,"digest":`, e.Digest)
	b = d.append(b, e)
	b = appendText(b, `,"request":`, e.Request)
	b = appendText(b, `,"decision":`, e.Decision)
	if len(e.Deciders) > 0 {
		b = append(b, `,"deciders":[`...)
		for i, d := range e.Deciders {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendQuoted(b, d)
		}
		b = append(b, ']')
	}
	b = appendText(b, `,"tag":`, e.Tag)
	b = appendInt(b, `,"rows":`, e.Rows)
	b = appendInt(b, `,"bytes":`, e.Bytes)
	b = appendInt(b, `,"masked":`, e.Masked)
	b = appendText(b, `,"sqlstate":`, e.SQLSTATE)
	b = appendText(b, `,"error":`, e.Error)
	b = appendText(b, `,"stream":`, e.Stream)
	b = appendText(b, `,"data":`, e.Data)
	b = appendInt(b, `,"columns":`, int64(e.Columns))
	b = appendInt(b, `,"lines":`, int64(e.Lines))
	return append(b, '}', '\n')
}

// appendSeconds appends seconds with six decimals, which strconv needs five times as long for.
func appendSeconds(b []byte, seconds float64) []byte {
	micros := int64(seconds*1e6 + 0.5)
	if micros <= 0 {
		return append(b, '0')
	}
	b = strconv.AppendInt(b, micros/1e6, 10)
	micros %= 1e6
	if micros == 0 {
		return b
	}
	return append(b, '.',
		byte('0'+micros/100000), byte('0'+micros/10000%10), byte('0'+micros/1000%10),
		byte('0'+micros/100%10), byte('0'+micros/10%10), byte('0'+micros%10))
}

// The keys that these take stand with comma, quotes and colon.

func appendUint(b []byte, key string, n uint64) []byte {
	if n == 0 {
		return b
	}
	return strconv.AppendUint(append(b, key...), n, 10)
}

func appendInt(b []byte, key string, n int64) []byte {
	if n == 0 {
		return b
	}
	return strconv.AppendInt(append(b, key...), n, 10)
}

func appendText(b []byte, key, s string) []byte {
	if s == "" {
		return b
	}
	return appendString(b, key, s)
}

func appendString(b []byte, key, s string) []byte { return appendQuoted(append(b, key...), s) }

// plain marks the bytes that a JSON string holds as they are.
var plain = func() (t [256]bool) {
	for c := ' '; c < 0x7F; c++ {
		t[c] = c != '"' && c != '\\'
	}
	return t
}()

// allPlain tells whether all of eight bytes are plain, all at once: none below 0x20 or from 0x7F on, no quote, no
// backslash. A byte that is zero in x has its high bit set in (x-ones) &^ x.
func allPlain(s string) bool {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	_ = s[7]
	x := uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
	quote, backslash, del := x^ones*'"', x^ones*'\\', x^ones*0x7F
	special := x | (x-ones*' ')&^x | (quote-ones)&^quote | (backslash-ones)&^backslash | (del-ones)&^del
	return special&highs == 0
}

const hexDigits = "0123456789abcdef"

// appendQuoted appends s as a JSON string. Invalid UTF-8 becomes \xNN in the text.
func appendQuoted(b []byte, s string) []byte {
	b = append(b, '"')
	from := 0
	for i := 0; i < len(s); {
		for len(s)-i >= 8 && allPlain(s[i:i+8]) {
			i += 8
		}
		if i == len(s) {
			break
		}
		c := s[i]
		if plain[c] {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(s[i:])
			if n > 1 && unicode.IsPrint(r) {
				i += n
				continue
			}
			b = append(b, s[from:i]...)
			if n == 1 {
				b = append(b, '\\', '\\', 'x', hexDigits[c>>4], hexDigits[c&15])
			} else {
				b = appendUnicode(b, r)
			}
			i += n
			from = i
			continue
		}
		b = append(b, s[from:i]...)
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\n':
			b = append(b, '\\', 'n')
		case '\r':
			b = append(b, '\\', 'r')
		case '\t':
			b = append(b, '\\', 't')
		default:
			b = appendUnicode(b, rune(c))
		}
		i++
		from = i
	}
	return append(append(b, s[from:]...), '"')
}

// appendUnicode appends the JSON escape of a character, as a surrogate pair where it needs one.
func appendUnicode(b []byte, r rune) []byte {
	if r >= 0x10000 {
		r -= 0x10000
		b = appendUnicode(b, 0xD800+r>>10)
		r = 0xDC00 + r&0x3FF
	}
	return append(b, '\\', 'u', hexDigits[r>>12&15], hexDigits[r>>8&15], hexDigits[r>>4&15], hexDigits[r&15])
}
