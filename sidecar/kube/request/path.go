package request

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"unicode/utf8"
)

// maxURI bounds a request's target. Exec carries its command there; the API server takes headers of 1 MiB in all.
const maxURI = 128 << 10

// Path splits the path of a request's target into its decoded segments. A final slash, which the API server ignores, is
// kept as an empty last segment.
//
// A path has one spelling only here: dot segments, empty segments, backslashes, control characters and encoded
// slashes are refused, because something between here and the object (a router, a proxied service) might resolve them,
// and so is a percent sign that is left after decoding once.
func Path(escaped string) ([]string, error) {
	if !strings.HasPrefix(escaped, "/") {
		return nil, errors.New("the target of a request is a path that begins with /")
	}
	if escaped == "/" {
		return []string{""}, nil
	}
	segments := strings.Split(escaped[1:], "/")
	for i, s := range segments {
		decoded, err := url.PathUnescape(s)
		if err != nil {
			return nil, fmt.Errorf("segment %d of the path has a percent sign that encodes nothing", i+1)
		}
		if err := checkSegment(decoded); err != nil {
			return nil, fmt.Errorf("segment %d of the path %w", i+1, err)
		}
		if decoded == "" && i < len(segments)-1 {
			return nil, errors.New("the path has an empty segment (two slashes)")
		}
		segments[i] = decoded
	}
	return segments, nil
}

func checkSegment(s string) error {
	switch {
	case s == ".", s == "..":
		return errors.New("is a dot segment")
	case !utf8.ValidString(s):
		return errors.New("is no UTF-8")
	case strings.ContainsAny(s, `/\`):
		return errors.New("holds an encoded slash or a backslash")
	case strings.Contains(s, "%"):
		return errors.New("is encoded twice")
	}
	for _, c := range s {
		if c < 0x20 || c >= 0x7f && c < 0xa0 {
			return errors.New("holds a control character")
		}
	}
	return nil
}

// escape is the canonical spelling of decoded segments.
func escape(segments []string) string {
	var b strings.Builder
	for _, s := range segments {
		b.WriteByte('/')
		b.WriteString(url.PathEscape(s))
	}
	return b.String()
}
