package record

import (
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"
)

// fill sets every field of an event to something that is not its zero value.
func fill(t testing.TB, text func() string) Event {
	t.Helper()
	var e Event
	v := reflect.ValueOf(&e).Elem()
	for i := range v.NumField() {
		switch f := v.Field(i); f.Kind() {
		case reflect.String:
			f.SetString(text())
		case reflect.Int, reflect.Int64:
			f.SetInt(-1234567890123)
		case reflect.Uint32, reflect.Uint64:
			f.SetUint(1 << 31)
		case reflect.Float64:
			f.SetFloat(1234.567891)
		case reflect.Slice:
			f.Set(reflect.ValueOf([]string{text(), text()}))
		default:
			t.Fatalf("field %s is of a kind that this test does not know", v.Type().Field(i).Name)
		}
	}
	return e
}

func decodeLine(t testing.TB, line []byte) Event {
	t.Helper()
	var e Event
	d := json.NewDecoder(strings.NewReader(string(line)))
	d.DisallowUnknownFields()
	if err := d.Decode(&e); err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	return e
}

func TestEveryFieldOfAnEventIsEncodedByItsTag(t *testing.T) {
	n := 0
	e := fill(t, func() string { n++; return strings.Repeat("x", n) })
	if got := decodeLine(t, appendEvent(nil, &e)); !reflect.DeepEqual(got, e) {
		t.Errorf("got  %+v\nwant %+v", got, e)
	}
	empty := Event{Kind: KindEnd}
	if got := string(appendEvent(nil, &empty)); got != `{"t":0,"kind":"end"}`+"\n" {
		t.Errorf("an empty event is %s", got)
	}
}

func TestTextsAreEncodedSoThatNothingInThemActs(t *testing.T) {
	for text, want := range map[string]string{
		"plain":                   `"plain"`,
		`quote " and \`:           `"quote \" and \\"`,
		"line\nend\r\ttab":        `"line\nend\r\ttab"`,
		"\x1b[2J":                 `"\u001b[2J"`,
		"\x7f":                    `"\u007f"`,
		"\u009b31m":               `"\u009b31m"`,
		"\u202eevil":              `"\u202eevil"`,
		"café ☕":                  `"café ☕"`,
		"\U000e0001":              `"\udb40\udc01"`,
		"broken \xff\xc3":         `"broken \\xff\\xc3"`,
		"\x00":                    `"\u0000"`,
		"\u2028":                  `"\u2028"`,
		"\u200b":                  `"\u200b"`,
		"nbsp\u00a0":              `"nbsp\u00a0"`,
		"a replacement is a text": `"a replacement is a text"`,
	} {
		if got := string(appendQuoted(nil, text)); got != want {
			t.Errorf("%q: got %s, want %s", text, got, want)
		}
	}
}

func TestRandomTextsComeBack(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 2000 {
		e := fill(t, func() string {
			b := make([]rune, random.IntN(20))
			for i := range b {
				b[i] = rune(random.IntN(0x11000))
				if !utf8.ValidRune(b[i]) {
					b[i] = 'x'
				}
			}
			return string(b) + "."
		})
		if got := decodeLine(t, appendEvent(nil, &e)); !reflect.DeepEqual(got, e) {
			t.Fatalf("got  %+v\nwant %+v", got, e)
		}
	}
}

func TestSecondsAreEncodedWithMicroseconds(t *testing.T) {
	for seconds, want := range map[float64]string{
		0: "0", 1: "1", 0.5: "0.500000", 1.000001: "1.000001", 3599.999999: "3599.999999", -1: "0", 0.0000004: "0",
	} {
		if got := string(appendSeconds(nil, seconds)); got != want {
			t.Errorf("%v: got %s, want %s", seconds, got, want)
		}
	}
}

func TestAnEventThatIsTooLongIsCut(t *testing.T) {
	for name, text := range map[string]string{
		"plain texts":       strings.Repeat("x", 100_000),
		"texts of escapes":  strings.Repeat("\x01", 100_000),
		"texts of no UTF-8": strings.Repeat("\xff", 100_000),
		"wide characters":   strings.Repeat("☕", 40_000),
	} {
		e := fill(t, func() string { return text })
		e.Kind = KindCommand
		deciders := e.Deciders
		line := appendBounded(nil, &e)
		if len(line) > maxEvent {
			t.Errorf("%s: the line has %d bytes", name, len(line))
		}
		if got := decodeLine(t, line); !strings.Contains(got.Text, string([]rune(text)[:1])) && name != "texts of no UTF-8" {
			t.Errorf("%s: nothing is left of the text", name)
		}
		if len(deciders[0]) != len(text) {
			t.Errorf("%s: the caller's slice was changed", name)
		}
	}
	one := Event{Kind: KindCommand, Text: strings.Repeat("x", 100_000), Rule: "r"}
	if got := decodeLine(t, appendBounded(nil, &one)); len(got.Text) != maxData || got.Rule != "r" {
		t.Errorf("%d bytes of text are left", len(got.Text))
	}
}

func TestEightBytesArePlainWhenEachIs(t *testing.T) {
	for at := range 8 {
		for c := range 256 {
			b := []byte("a~ b!z0[")
			b[at] = byte(c)
			if got := allPlain(string(b)); got != plain[c] {
				t.Errorf("byte %#x at %d: got %v", c, at, got)
			}
		}
	}
}

func TestWhatIsRememberedOfOneEventIsNotToldOfAnother(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	pick := func(of ...string) string { return of[random.IntN(len(of))] }
	var d decided
	for range 5000 {
		e := Event{
			Kind: KindCommand, Text: pick("SELECT 1", "SELECT 2"), Verdict: pick("", "Allow", "Deny"), Audited: pick("", "Deny"),
			Policy: pick("", "a/p", "a/q"), Generation: int64(random.IntN(2)), Rule: pick("", "r", "s"), Message: pick("", "", "no"),
		}
		if got, want := appendRemembered(nil, &e, &d), appendEvent(nil, &e); string(got) != string(want) {
			t.Fatalf("got  %s\nwant %s", got, want)
		}
	}
}
