package postgres

import (
	"bytes"
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"
)

// gram is the length of the shortest fragment of a value that is looked for.
const gram = 4

// secrets finds protected values in bytes, whole and in fragments, in many encodings.
type secrets struct {
	needles map[string]string // what must not show, by what it is
}

func newSecrets(values []string) *secrets {
	s := &secrets{needles: make(map[string]string)}
	for _, v := range values {
		s.add(v)
	}
	return s
}

// add takes a value, of which every fragment is looked for, in every encoding.
func (s *secrets) add(value string) {
	s.number(value)
	if len(value) < gram {
		return
	}
	for i := 0; i+gram <= len(value); i++ {
		part := value[i : i+gram]
		if !strings.ContainsAny(strings.ToLower(part), "ghijklmnopqrstuvwxyz") && len(value) > gram {
			continue // hexadecimal numbers that mean nothing would hold it
		}
		s.text("a fragment of "+value, part)
	}
	s.text(value, value)
	for shift := range 3 { // base64 of the value wherever it stands in what is encoded
		padded := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", shift) + value))
		core := padded[(shift*8+5)/6 : len(value)*8/6-1]
		if len(core) >= 6 {
			s.needles[strings.ToLower(core)] = "base64 of " + value
		}
	}
	sum := md5.Sum([]byte(value))
	s.needles[hex.EncodeToString(sum[:])] = "md5 of " + value
	long := sha256.Sum256([]byte(value))
	s.needles[hex.EncodeToString(long[:])] = "sha256 of " + value
}

// text takes a text that must not show in any spelling.
func (s *secrets) text(what, text string) {
	var reversed, wide, octal, escaped, codes, bits []string
	for i := range len(text) {
		c := text[i]
		reversed = append([]string{string(c)}, reversed...)
		wide = append(wide, string(c), "\x00")
		octal = append(octal, fmt.Sprintf(`\%03o`, c))
		escaped = append(escaped, fmt.Sprintf(`\u%04x`, c))
		codes = append(codes, strconv.Itoa(int(c)))
		bits = append(bits, fmt.Sprintf("%08b", c))
	}
	forms := map[string]string{
		what:                        text,
		what + ", reversed":         strings.Join(reversed, ""),
		what + ", in hexadecimal":   hex.EncodeToString([]byte(text)),
		what + ", in UTF-16":        strings.Join(wide, ""),
		what + ", in octal":         strings.Join(octal, ""),
		what + ", in JSON escapes":  strings.Join(escaped, ""),
		what + ", as codes":         strings.Join(codes, ","),
		what + ", as spaced codes":  strings.Join(codes, ", "),
		what + ", as codes a line":  strings.Join(codes, "\n"),
		what + ", as bits":          strings.Join(bits, ""),
		what + ", in rot13":         rot13(text),
		what + ", with separators":  strings.Join(strings.Split(text, ""), "-"),
		what + ", with commas":      strings.Join(strings.Split(text, ""), ","),
		what + ", with line breaks": strings.Join(strings.Split(text, ""), "\n"),
	}
	for name, form := range forms {
		s.needles[strings.ToLower(form)] = name
	}
}

// number takes a value that is a number, a date or a UUID also by the bytes of PostgreSQL's binary formats.
func (s *secrets) number(value string) {
	keep := func(name string, b []byte) { s.needles[string(lower(b))] = name + " of " + value }
	if n, err := strconv.ParseInt(value, 10, 64); err == nil && n > 1_000_000 {
		keep("int4", binary.BigEndian.AppendUint32(nil, uint32(n)))
		keep("hexadecimal", []byte(strconv.FormatInt(n, 16)))
	}
	if d, err := time.Parse(time.DateOnly, value); err == nil {
		keep("date", binary.BigEndian.AppendUint32(nil, uint32(int32(d.Sub(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)).Hours()/24))))
		keep("another order", []byte(d.Format("02-01-2006")))
		keep("another order", []byte(d.Format("01-02-2006")))
		keep("digits", []byte(d.Format("20060102")))
	}
	if strings.Count(value, "-") == 4 {
		if b, err := hex.DecodeString(strings.ReplaceAll(value, "-", "")); err == nil {
			keep("uuid", b)
		}
		keep("digits", []byte(strings.ReplaceAll(value, "-", "")))
		keep("the first group", []byte(value[:8]))
	}
	if len(value) > gram {
		s.needles[strings.ToLower(value)] = value
	}
}

// lower folds ASCII letters alone: what is received is bytes, not text.
func lower(b []byte) []byte {
	out := bytes.Clone(b)
	for i, c := range out {
		if c >= 'A' && c <= 'Z' {
			out[i] = c + 'a' - 'A'
		}
	}
	return out
}

func rot13(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z':
			return 'a' + (r-'a'+13)%26
		case r >= 'A' && r <= 'Z':
			return 'A' + (r-'A'+13)%26
		}
		return r
	}, s)
}

// find returns what of the secrets shows in b; empty: nothing.
func (s *secrets) find(b []byte) string {
	low := lower(b)
	for needle, what := range s.needles {
		if i := bytes.Index(low, []byte(needle)); i >= 0 {
			return fmt.Sprintf("%s, in %q", what, b[max(0, i-60):min(len(b), i+len(needle)+20)])
		}
	}
	return ""
}

// The oracle itself must find what it is there for, and nothing in what says nothing.
func TestSecretsAreFound(t *testing.T) {
	s := newSecrets(protectedValues[0])
	v := protectedValues[0][0]
	for name, text := range map[string]string{
		"plain":            "row 1: " + v,
		"a fragment":       "xx" + v[3:8] + "yy",
		"in another case":  strings.ToUpper(v),
		"reversed":         strings.ToLower("wXmTrJWd3KpxV7qZ")[2:9],
		"hexadecimal":      `\x` + hex.EncodeToString([]byte(v)),
		"base64":           base64.StdEncoding.EncodeToString([]byte("card=" + v + ";")),
		"base64 of a row":  base64.StdEncoding.EncodeToString([]byte(`{"id":1,"card_number":"` + v + `"}`)),
		"md5":              fmt.Sprintf("%x", md5.Sum([]byte(v))),
		"codes":            "{90,113,55,86,120}",
		"a number":         "48213977",
		"a binary number":  "\x00\x00\x00\x04" + string(binary.BigEndian.AppendUint32(nil, 48213977)),
		"a date":           "1987-03-29",
		"a date reordered": "29-03-1987",
		"bits":             "0101101001110001001101110101011001111000",
		"a list":           "Z-q-7-V-x-p-K",
	} {
		if s.find([]byte(text)) == "" {
			t.Errorf("%s is not found: %q", name, text)
		}
	}
	for _, text := range []string{
		"ERROR 42501 policy prod/billing, rule masking: values of public.customers.card_number, which is masked, would come into table scratch",
		"********", "Ada ada@example.com Blaise", "d41d8cd98f00b204e9800998ecf8427e", "order 17", "2000-01-01", "00000000-0000-0000-0000-000000000000",
	} {
		if what := s.find([]byte(text)); what != "" {
			t.Errorf("found in %q: %s", text, what)
		}
	}
}
