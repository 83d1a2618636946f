package mask

import (
	"math/rand/v2"
	"strings"
	"testing"
)

// inPieces writes src in the pieces that sizes say, cyclically, and flushes at the end.
func inPieces(d *Detectors, src []byte, sizes func() int) string {
	s := NewStream(d)
	var out []byte
	for len(src) > 0 {
		n := min(len(src), max(1, sizes()))
		out, _ = s.Write(out, src[:n])
		src = src[n:]
	}
	out, _ = s.Flush(out)
	return string(out)
}

func TestStreamMasksAcrossPieces(t *testing.T) {
	key := "-----BEGIN PRIVATE KEY-----\n" + strings.Repeat("MIIEvQIBADANBgkqhkiG9w0BAQEFAASC\n", 40) + "-----END PRIVATE KEY-----\n"
	for name, text := range map[string]string{
		"a card":                          "pay 4111 1111 1111 1111 now",
		"a card at the end":               "4111111111111111",
		"an address":                      "mail alice.b+c@mail.example.com, thanks",
		"a social security number":        "ssn 123-45-6789.",
		"an account":                      "GB82 WEST 1234 5698 7654 32\n",
		"an access key":                   "export K=AKIA" + "IOSFODNN7EXAMPLE\n",
		"a long token":                    "xoxb-" + strings.Repeat("0123456789ab-", 60) + "x\nbye",
		"a private key":                   "before\n" + key + "after 4111111111111111 " + key,
		"digits that are no card":         "14111111111111111 and 4111111111111112",
		"a private key that never ends":   "-----BEGIN RSA PRIVATE KEY-----\n" + strings.Repeat("abcd\n", 100),
		"dashes that are no key":          "----------------------- BEGIN -----",
		"text in which nothing is hidden": strings.Repeat("the quick brown fox\n", 20),
	} {
		want, _ := All().Rewrite(nil, []byte(text))
		for _, size := range [...]int{1, 2, 3, 7, 16, 33, 100, 4096} {
			if got := inPieces(All(), []byte(text), func() int { return size }); got != string(want) {
				t.Errorf("%s in pieces of %d:\n%q, want\n%q", name, size, got, want)
			}
		}
	}
}

func TestStreamHoldsBackNoMoreThanAPossibleMatch(t *testing.T) {
	for text, held := range map[string]int{
		"hello\n":                0,
		"hello ":                 0,
		"$ ":                     0,
		"hello":                  5, // may be the beginning of an address
		"total: 42 ":             3,
		"a@example.c":            11,
		strings.Repeat("x", 500): longestLocal,
		strings.Repeat("1", 500): longestLocal,
		"\n-----BEGIN RSA PRIV":  19,
		"key = AKIA":             4,
	} {
		s := NewStream(All())
		out, _ := s.Write(nil, []byte(text))
		if s.Held() != held || len(out)+held != len(text) {
			t.Errorf("%q: %d bytes held back, %d passed on, want %d held", text, s.Held(), len(out), held)
		}
	}
}

// What was flushed because time ran out cannot be taken back; the rest of the match is still replaced.
func TestStreamRecognisesTheRestOfAMatchAfterAFlush(t *testing.T) {
	for name, c := range map[string]struct{ first, second, want string }{
		"a card":        {"4111 1111 ", "1111 1111\n", "**** ****\n"},
		"an address":    {"alice@exam", "ple.com\n", "***.***\n"},
		"a private key": {"-----BEGIN PRIVATE KEY-----\nab", "cd\n-----END PRIVATE KEY-----\nx\n", "**\n-----END PRIVATE KEY-----\nx\n"},
		"its first line": {
			"-----BEGIN PRIV", "ATE KEY-----\nabcd\n-----END PRIVATE KEY-----\n",
			"ATE KEY-----\n****\n-----END PRIVATE KEY-----\n",
		},
		"its last line": {
			"-----BEGIN PRIVATE KEY-----\nab\n---", "--END PRIVATE KEY-----\nabc\n", "--END PRIVATE KEY-----\nabc\n",
		},
	} {
		s := NewStream(All())
		out, _ := s.Write(nil, []byte(c.first))
		out, _ = s.Flush(out)
		if len(out) != len(c.first) || s.Held() != 0 {
			t.Errorf("%s: %q was flushed of %q", name, out, c.first)
		}
		out, hits := s.Write(nil, []byte(c.second))
		out, more := s.Flush(out)
		if string(out) != c.want || hits+more == 0 && name != "its last line" {
			t.Errorf("%s: got %q (%d hits), want %q", name, out, hits+more, c.want)
		}
	}
}

func TestStreamWithoutDetectorsPassesEverythingOn(t *testing.T) {
	s := NewStream(nil)
	if out, hits := s.Write(nil, []byte("4111111111111111")); string(out) != "4111111111111111" || hits != 0 || s.Held() != 0 {
		t.Errorf("got %q", out)
	}
}

func TestStreamForgetsWhatIsPast(t *testing.T) {
	s := NewStream(All())
	var out []byte
	for range 10_000 {
		out, _ = s.Write(out[:0], []byte("some output with 12 words, a@b.cd and so on\n"))
		if len(s.buf) > 8<<10 {
			t.Fatalf("%d bytes are kept", len(s.buf))
		}
	}
}

func FuzzStreamAgainstRewrite(f *testing.F) {
	f.Add([]byte("4111 1111 1111 1111 alice@example.com xoxb-1234567890123456789012345"), uint64(1))
	f.Add([]byte("-----BEGIN PRIVATE KEY-----\nabc\n-----END PRIVATE KEY-----\n123-45-6789"), uint64(2))
	f.Fuzz(func(t *testing.T, src []byte, seed uint64) {
		if len(src) > 4096 {
			return
		}
		random := rand.New(rand.NewPCG(seed, 0))
		got := inPieces(All(), src, func() int { return random.IntN(40) })
		if want, _ := All().Rewrite(nil, src); got != string(want) {
			t.Fatalf("%q\nin pieces %q\nat once   %q", src, got, want)
		}
	})
}
