package kube

import (
	"encoding/base64"
	"strconv"
	"strings"
	"testing"
)

const v4, v5, v4base64 = "v4.channel.k8s.io", "v5.channel.k8s.io", "v4.base64.channel.k8s.io"

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// TestFramesOfEveryShape sends standard input to a program that prints it, in frames of shapes that have to be understood:
// the container gets the bytes, no more and no fewer, and what it prints is masked.
func TestFramesOfEveryShape(t *testing.T) {
	s := front(t, open())
	in := "\x00"
	long := strings.Repeat("0123456789abcdef", 10_000)
	for name, c := range map[string]struct {
		protocol string
		frames   string
		want     string
	}{
		"one message":                             {v4, frame(fin|binaryOp, in+"good"), "good"},
		"text in place of bytes":                  {v4, frame(fin|text, in+"good"), "good"},
		"several messages in one write":           {v4, frame(fin|binaryOp, in+"go") + frame(fin|binaryOp, in+"o") + frame(fin|binaryOp, in+"d"), "good"},
		"a message in fragments":                  {v4, frame(binaryOp, in+"g") + frame(0, "oo") + frame(fin, "d"), "good"},
		"the channel in a fragment of its own":    {v4, frame(binaryOp, in) + frame(fin, "good"), "good"},
		"an empty fragment before the channel":    {v4, frame(binaryOp, "") + frame(0, in) + frame(fin, "good"), "good"},
		"empty fragments between":                 {v4, frame(binaryOp, in+"go") + strings.Repeat(frame(0, ""), 100) + frame(fin, "od"), "good"},
		"pings between fragments":                 {v4, frame(binaryOp, in+"go") + strings.Repeat(frame(fin|pinging, "p"), 20) + frame(fin, "od"), "good"},
		"a channel's number as a fragment's head": {v4, frame(binaryOp, in+"go") + frame(fin, "\x03od"), "go\x03od"},
		"UTF-8 split between fragments":           {v4, frame(text, in+"g\xc3") + frame(fin, "\xb6\xc3\xb6d"), "gööd"},
		"UTF-8 split between messages":            {v4, frame(fin|text, in+"g\xe2\x82") + frame(fin|text, in+"\xacd"), "g€d"},
		"bytes that are no UTF-8":                 {v4, frame(fin|text, in+"\xff\xfe"), "\xff\xfe"},
		"a length of 16 bits":                     {v4, frame(fin|binaryOp, in+long[:1000]), long[:1000]},
		"a length of 64 bits":                     {v4, frame(fin|binaryOp, in+long), long},
		"a long message in short fragments":       {v4, frame(binaryOp, in+long[:100]) + frame(0, long[100:300]) + frame(fin, long[300:1000]), long[:1000]},
		"an end of standard input":                {v5, frame(fin|binaryOp, in+"good") + frame(fin|binaryOp, "\xff\x00"), "good"},
		"base64":                                  {v4base64, frame(fin|text, "0"+b64("good")), "good"},
		"base64 in bytes":                         {v4base64, frame(fin|binaryOp, "0"+b64("good")), "good"},
		"base64 split in a quantum":               {v4base64, frame(text, "0"+b64("good")[:3]) + frame(fin, b64("good")[3:]), "good"},
		"base64 a letter at a time":               {v4base64, frame(text, "0") + frame(0, b64("good")[:1]) + frame(0, b64("good")[1:2]) + frame(fin, b64("good")[2:]), "good"},
		"base64 whose content is a card":          {v4base64, frame(fin|text, "0"+b64(card)), ""},
		"base64 that hides a card in two":         {v4base64, frame(fin|text, "0"+b64(card[:7])) + frame(fin|text, "0"+b64(card[7:])), ""},
		"a card in fragments":                     {v4, frame(binaryOp, in+card[:5]) + frame(0, card[5:11]) + frame(fin, card[11:]), ""},
		"a card a letter a message":               {v4, messages(in, card), ""},
		"a card with a ping in it":                {v4, frame(binaryOp, in+card[:8]) + frame(fin|pinging, "x") + frame(fin, card[8:]), ""},
	} {
		t.Run(name, func(t *testing.T) {
			// head ends with the input's last byte, so that standard input need not end.
			program := []string{"cat"}
			size := len(c.want)
			if size == 0 {
				size = len(card)
			}
			if c.protocol != v5 {
				program = []string{"head", "-c", strconv.Itoa(size)}
			}
			client := dial(t, s.Address(), s.CAPEM())
			client.upgrade(t, c.protocol, execPath("&stdin=true", program...))
			client.send(t, c.frames)
			got := client.all()
			if c.want != "" && got.stdout != c.want {
				t.Errorf("got %.100q", got.stdout)
			}
			if strings.Contains(got.stdout+got.wire, card) || c.want == "" && len(got.stdout) != len(card) {
				t.Errorf("got %.200q", got)
			}
		})
	}
	livesOn(t, s)
}

// TestFramesThatAreRefused sends frames that end the session: what follows them does not reach the container.
func TestFramesThatAreRefused(t *testing.T) {
	s := front(t, open())
	in := "\x00"
	unmasked := func(payload string) string { return string([]byte{fin | binaryOp, byte(len(payload))}) + payload }
	for name, c := range map[string]struct{ protocol, frames string }{
		"no mask":                             {v4, unmasked(in + "EVIL")},
		"a reserved bit":                      {v4, frame(fin|reserved1|binaryOp, in+"EVIL")},
		"another reserved bit":                {v4, frame(fin|0x20|binaryOp, in+"EVIL")},
		"a reserved opcode":                   {v4, frame(fin|3, in+"EVIL")},
		"a reserved control opcode":           {v4, frame(fin|0xb, "EVIL")},
		"a continuation of nothing":           {v4, frame(fin, in+"EVIL")},
		"a message within a message":          {v4, frame(binaryOp, in) + frame(fin|binaryOp, in+"EVIL")},
		"a ping in fragments":                 {v4, frame(pinging, "EVIL")},
		"a ping that is long":                 {v4, frame(fin|pinging, strings.Repeat("E", 126))},
		"a close that is one byte":            {v4, frame(fin|closing, "E")},
		"a length in too many bytes":          {v4, string([]byte{fin | binaryOp, maskBit | 126, 0, 5, 0, 0, 0, 0}) + in + "EVIL"},
		"a length in far too many":            {v4, string([]byte{fin | binaryOp, maskBit | 127, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0}) + in + "EVIL"},
		"a negative length":                   {v4, string([]byte{fin | binaryOp, maskBit | 127, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0}) + in + "EVIL"},
		"standard output written to":          {v4, frame(fin|binaryOp, "\x01EVIL")},
		"standard error written to":           {v4, frame(fin|binaryOp, "\x02EVIL")},
		"the error stream written to":         {v4, frame(fin|binaryOp, "\x03{\"status\":\"Success\"}EVIL")},
		"a channel that is not":               {v4, frame(fin|binaryOp, "\x05EVIL")},
		"a channel far out":                   {v4, frame(fin|binaryOp, "\xc8EVIL")},
		"an end in a protocol without":        {v4, frame(fin|binaryOp, "\xff\x00")},
		"an end of standard output":           {v5, frame(fin|binaryOp, "\xff\x00\x01EVIL")},
		"an end that is long":                 {v5, frame(fin|binaryOp, "\xff\x00EVIL")},
		"base64 that is none":                 {v4base64, frame(fin|text, "0****")},
		"base64 that breaks off":              {v4base64, frame(fin|text, "0"+b64("EVIL!")[:5])},
		"a channel that is no digit":          {v4base64, frame(fin|text, "\x00"+b64("EVIL"))},
		"standard output in base64":           {v4base64, frame(fin|text, "1"+b64("EVIL"))},
		"a size that is long":                 {v4, frame(fin|binaryOp, "\x04"+strings.Repeat("x", 100_000))},
		"half a frame":                        {v4, frame(fin|binaryOp, in+"EVIL")[:3]},
		"HTTP in place of frames":             {v4, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"},
		"SPDY in place of frames":             {v4, "\x80\x03\x00\x01\x00\x00\x00\x0c" + strings.Repeat("\x00", 12)},
		"a length of all that there could be": {v4, string([]byte{fin | binaryOp, maskBit | 127, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})},
	} {
		t.Run(name, func(t *testing.T) {
			word := mark()
			client := dial(t, s.Address(), s.CAPEM())
			client.upgrade(t, c.protocol, execPath("&stdin=true", "cat", "/dev/null", "-", "nofile"+word))
			// What follows the frame must not arrive, whatever becomes of the frame itself.
			client.send(t, c.frames)
			_, _ = client.Write([]byte(frame(fin|binaryOp, in+"EVIL")))
			_ = client.CloseWrite()
			if got := client.all(); strings.Contains(got.stdout, "EVIL") || strings.Contains(got.wire, "goroutine") {
				t.Errorf("got %.300q", got)
			}
		})
	}
	livesOn(t, s)
}

func messages(in, text string) string {
	out := ""
	for _, c := range text {
		out += frame(fin|binaryOp, in+string(c))
	}
	return out
}
