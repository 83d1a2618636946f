package wire

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
)

func TestWhatIsWrittenIsRead(t *testing.T) {
	sent := Request{Number: 7, Protocol: policy.ProtocolPostgres, Expression: `command.text < "é"`, Command: &policy.Command{
		Protocol: policy.ProtocolPostgres, Text: "select '\x01<&>é'",
		SQL: &policy.SQL{Command: "SELECT", Tables: []policy.Table{{Name: "a", Candidates: []string{"x", "y"}, Write: true}}, Via: []string{"EXPLAIN"}},
	}}
	frame, err := Frame(sent, MaxRequest)
	if err != nil {
		t.Fatal(err)
	}
	r := bytes.NewReader(frame)
	var got Request
	if err := Read(r, MaxRequest, &got); err != nil || !reflect.DeepEqual(got, sent) {
		t.Errorf("got %+v, %v", got, err)
	}
	if err := Read(r, MaxRequest, &got); !errors.Is(err, io.EOF) {
		t.Errorf("after the last: %v", err)
	}
}

func TestFramesAreBounded(t *testing.T) {
	if _, err := Frame(Request{Expression: strings.Repeat("x", 100)}, 100); !errors.Is(err, ErrTooLong) {
		t.Errorf("writing: %v", err)
	}
	for name, c := range map[string]struct{ content, want string }{
		"a length over the bound":  {"\xff\xff\xff\xff", "more than 65536"},
		"a frame that breaks off":  {"\x00\x00\x00\x09{\"Num", "unexpected EOF"},
		"a frame without its JSON": {"\x00\x00\x00\x09", "unexpected EOF"},
		"a length that breaks off": {"\x00\x00", "unexpected EOF"},
		"a frame that is no JSON":  {"\x00\x00\x00\x02hi", "invalid character"},
	} {
		t.Run(name, func(t *testing.T) {
			var got Answer
			if err := Read(strings.NewReader(c.content), MaxAnswer, &got); err == nil || errors.Is(err, io.EOF) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x02{}"))
	f.Add([]byte("\x00\x00\x00\x1a{\"Number\":1,\"Matched\":true}"))
	f.Add([]byte("\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, content []byte) {
		var answer Answer
		if err := Read(bytes.NewReader(content), MaxAnswer, &answer); err != nil {
			return
		}
		frame, err := Frame(answer, 8*MaxAnswer)
		if err != nil {
			t.Fatal(err)
		}
		var again Answer
		if err := Read(bytes.NewReader(frame), 8*MaxAnswer, &again); err != nil || !reflect.DeepEqual(again, answer) {
			t.Errorf("%+v became %+v, %v", answer, again, err)
		}
	})
}
