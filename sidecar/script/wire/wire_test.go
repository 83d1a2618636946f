package wire

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
)

func TestWhatIsWrittenIsRead(t *testing.T) {
	for _, m := range []Message{
		{Kind: Script, Text: "X=rm; $X"}, {Kind: Script},
		{Kind: Run, Number: 1, Words: []string{"rm", "", "a b\n"}}, {Kind: Run, Number: 7, Dir: "/a b", Words: []string{""}},
		{Kind: Start, Number: 1 << 31}, {Kind: Status, Number: 2, Code: 255}, {Kind: Done, Code: 0}, {Kind: Refused, Text: "no"},
	} {
		b, err := Append(nil, m)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := Parse(b); err != nil || !reflect.DeepEqual(got, m) {
			t.Errorf("%+v became %+v (%v)", m, got, err)
		}
	}
}

func TestWhatIsNoMessageIsRefused(t *testing.T) {
	for name, b := range map[string]string{
		"nothing": "", "half a head": "R\x00\x00", "an unknown kind": "?\x00\x00\x00\x01", "a command without an end": "R\x00\x00\x00\x01\x00ls",
		"a command without words": "R\x00\x00\x00\x01", "one with a folder alone": "R\x00\x00\x00\x01/tmp\x00", "a command without a number": "R\x00\x00\x00\x00\x00ls\x00", "a start with more": "G\x00\x00\x00\x01x",
		"a status of two bytes": "S\x00\x00\x00\x01ab", "an end with a number": "D\x00\x00\x00\x01a", "an end without a status": "D\x00\x00\x00\x00",
		"a long text": "P\x00\x00\x00\x00" + strings.Repeat("x", MaxText+1), "a long refusal": "X\x00\x00\x00\x00" + strings.Repeat("x", MaxWhy+1),
		"long words": "R\x00\x00\x00\x01\x00" + strings.Repeat("x", MaxWords) + "\x00",
	} {
		if m, err := Parse([]byte(b)); err == nil {
			t.Errorf("%s is taken for %+v", name, m)
		}
	}
	for name, words := range map[string][]string{"a NUL byte": {"a\x00b"}, "too long": {strings.Repeat("x", MaxWords)}} {
		if _, err := Append(nil, Message{Kind: Run, Number: 1, Words: words}); err == nil {
			t.Errorf("words are written: %s", name)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("R\x00\x00\x00\x01/tmp\x00ls\x00-l\x00"))
	f.Add([]byte("D\x00\x00\x00\x00\x07"))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Parse(b)
		if err != nil {
			return
		}
		if again, err := Append(nil, m); err != nil || !bytes.Equal(again, b) {
			t.Errorf("%q is read as %+v, which is written as %q (%v)", b, m, again, err)
		}
	})
}
