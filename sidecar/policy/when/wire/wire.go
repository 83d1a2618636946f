// Package wire is what the sidecar and its program for conditions say to each other over the program's standard
// input and output: requests and answers in turn, each a frame of four bytes of length, big-endian, and JSON.
package wire

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
)

const (
	// MaxRequest bounds a request's JSON: a statement is at most 1 MiB, and what it names comes beside it. What is
	// longer cannot be evaluated.
	MaxRequest = 4 << 20
	// MaxAnswer bounds an answer's JSON.
	MaxAnswer = 64 << 10
	// MaxError bounds the text of an error, which quotes the expression (4096 characters in an AgentPolicy).
	// JSON makes it at most six times as long.
	MaxError = 8 << 10
)

// ErrTooLong is a frame over its bound. Nothing of it was written.
var ErrTooLong = errors.New("more than can be asked at once")

// Request asks whether an expression is a condition, and with a command, whether it holds for that. It says all
// that its answer depends on: the program keeps nothing that could be lost with it, or that nobody would free.
type Request struct {
	Number     uint64
	Protocol   policy.Protocol
	Expression string
	Command    *policy.Command `json:",omitempty"`
}

// Answer is to the request of the same number.
type Answer struct {
	Number uint64
	// Matched is set where a command was asked about and the expression could be evaluated.
	Matched *bool `json:",omitempty"`
	// Error says what is wrong with the expression, or why it could not be evaluated.
	Error string `json:",omitempty"`
}

// Frame returns a message as it is sent, or ErrTooLong.
func Frame(message any, limit int) ([]byte, error) {
	var b bytes.Buffer
	b.Write(make([]byte, 4))
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(message); err != nil {
		return nil, fmt.Errorf("writing a message: %w", err)
	}
	frame := b.Bytes()
	if len(frame)-4 > limit {
		return nil, fmt.Errorf("%d bytes: %w", len(frame)-4, ErrTooLong)
	}
	binary.BigEndian.PutUint32(frame, uint32(len(frame)-4))
	return frame, nil
}

// Read reads one message into what message points to. It is io.EOF where there is none; everything else that is no
// frame of at most limit bytes with JSON of that form is another error.
func Read(r io.Reader, limit int, message any) error {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return err
	}
	size := binary.BigEndian.Uint32(head[:])
	if uint64(size) > uint64(limit) {
		return fmt.Errorf("reading a message: %d bytes, more than %d", size, limit)
	}
	content := make([]byte, size)
	if _, err := io.ReadFull(r, content); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return fmt.Errorf("reading a message: %w", err)
	}
	if err := json.Unmarshal(content, message); err != nil {
		return fmt.Errorf("reading a message: %w", err)
	}
	return nil
}
