package control

import (
	"context"
	"errors"
	"strings"
	"unicode"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// maxWords bounds a sentence of the broker's that an agent may read.
const maxWords = 512

// unreachable tells whether the call did not get through: nothing was decided, and what is held may be used.
func unreachable(err error) bool {
	switch status.Code(err) {
	case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled, codes.Aborted, codes.Internal, codes.Unknown,
		// The token could not be read, is renewed just now, or the API server could not review it.
		codes.Unauthenticated:
		return true
	}
	return errors.Is(err, context.DeadlineExceeded)
}

// words is the sentence of an error, bounded and on one line.
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
