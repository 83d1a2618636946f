package control

import (
	"strings"
	"unicode"

	"google.golang.org/grpc/status"
)

// maxWords bounds a sentence of the broker's that an agent may read.
const maxWords = 512

// words is the sentence of a gRPC error without its code, bounded and on one line.
func words(err error) string {
	s := status.Convert(err).Message()
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
	if len(s) > maxWords {
		s = strings.ToValidUTF8(s[:maxWords], "") + "..."
	}
	return s
}
