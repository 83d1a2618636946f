package spdy

import (
	"errors"
	"fmt"
)

// Kind is what a frame is.
type Kind uint16

// The kinds of frames (2.6). Data is ours: on the wire a data frame has none.
const (
	Data         Kind = 0
	SynStream    Kind = 1
	SynReply     Kind = 2
	RstStream    Kind = 3
	Settings     Kind = 4
	Ping         Kind = 6
	GoAway       Kind = 7
	Headers      Kind = 8
	WindowUpdate Kind = 9
)

// Flags of frames.
const (
	FlagFin            byte = 1
	FlagUnidirectional byte = 2
)

// Statuses of RstStream (2.6.3).
const (
	StatusProtocolError = 1
	StatusRefusedStream = 3
	StatusCancel        = 5
)

const (
	version = 3
	// maxBlock bounds a header block, as it comes and inflated, maxHeaders the headers in it. Kubernetes' have three.
	maxBlock   = 16 << 10
	maxHeaders = 32
	// maxControl bounds the payload of the other control frames; SETTINGS has eight bytes for each.
	maxControl = 4 << 10
)

// Header is one header of a stream: name in lower case, values separated by NUL.
type Header struct{ Name, Value string }

// Frame is a frame without the payload of data.
type Frame struct {
	Kind   Kind
	Flags  byte
	Stream uint32 // the stream's number, the ping's, or the last good stream's of GoAway
	Status uint32 // of RstStream and GoAway
	// Priority of SynStream, 0 the highest.
	Priority byte
	Headers  []Header
	// Length of a data frame's payload, which Read gives.
	Length int
}

// Fin tells whether it is the sender's last frame of the stream.
func (f *Frame) Fin() bool { return f.Flags&FlagFin != 0 }

// Get returns the value of a header, "" where there is none.
func (f *Frame) Get(name string) string {
	for _, h := range f.Headers {
		if h.Name == name {
			return h.Value
		}
	}
	return ""
}

// Errors of the peer. Any error ends the connection, because the state of the headers' compression is lost with it.
var (
	ErrVersion  = errors.New("a SPDY frame of another version than 3")
	ErrLength   = errors.New("a SPDY frame with a length that its kind cannot have, or that is too large")
	ErrStream   = errors.New("a SPDY frame for stream 0, or with a number that no stream has")
	ErrHeaders  = errors.New("a SPDY header block that cannot be read, or is too large")
	errKind     = errors.New("a SPDY frame of an unknown kind")
	errTwice    = fmt.Errorf("%w: a name twice, or not in lower case", ErrHeaders)
	errLeftover = fmt.Errorf("%w: bytes behind its last header", ErrHeaders)
)
