// Package wire is what the sidecar and the program that interprets a script say to each other: one message in each packet
// of a socket that keeps their bounds (SOCK_SEQPACKET). What a command reads and prints goes over pipes, which the sidecar
// makes and hands over with Start; the kernel holds back whoever is faster.
package wire

import (
	"encoding/binary"
	"errors"
	"strings"
)

const (
	// MaxMessage bounds a message in bytes: the words of a command (MaxWords) and the head.
	MaxMessage = MaxWords + headSize
	// MaxWords bounds a command's words, each with the NUL byte that ends it: the longest argument that Linux hands to a
	// program (MAX_ARG_STRLEN), which the whole command is for the server's shell.
	MaxWords = 128 << 10
	// MaxText bounds a script.
	MaxText = 16 << 10
	// MaxWhy bounds the text of a refusal.
	MaxWhy = 1 << 10
	// MaxCommands bounds how many commands of a script run at once. OpenSSH's server lets ten sessions in (MaxSessions).
	MaxCommands = 16

	headSize = 5
)

// Kind says what a message is.
type Kind byte

const (
	// Script is the first message to the program. Text is what it has to interpret.
	Script Kind = 'P'
	// Run is from the program: a command is to run under a number of its own, never used before. Dir is where, empty
	// for the user's home, and Words are its argv.
	Run Kind = 'R'
	// Start is to the program: the command runs, and three pipes come with it: where its standard input is written, and
	// where its standard output and standard error are read.
	Start Kind = 'G'
	// Status is to the program: the command has ended, or was not run. The sidecar's ends of its pipes are closed.
	Status Kind = 'S'
	// Done is from the program: the script has ended by itself, with a status.
	Done Kind = 'D'
	// Refused is from the program: the script is not interpreted, or not further. Text says why.
	Refused Kind = 'X'
)

// Message is one message. Number is of Run, Start and Status; Code of Status and Done; Text of Script and Refused; Dir and
// Words of Run.
type Message struct {
	Kind   Kind
	Number uint32
	Code   uint8
	Text   string
	Dir    string
	Words  []string
}

var errMalformed = errors.New("a malformed message")

// Append appends the packet of a message. An error says that it has none: a word holds a NUL byte, or it is too long.
func Append(b []byte, m Message) ([]byte, error) {
	b = binary.BigEndian.AppendUint32(append(b, byte(m.Kind)), m.Number)
	switch m.Kind {
	case Run:
		size := 0
		for _, w := range append([]string{m.Dir}, m.Words...) {
			if size += len(w) + 1; size > MaxWords || strings.IndexByte(w, 0) >= 0 {
				return nil, errors.New("the words of a command are too long, or hold a NUL byte")
			}
			b = append(append(b, w...), 0)
		}
	case Status, Done:
		b = append(b, m.Code)
	case Script, Refused:
		b = append(b, m.Text...)
	}
	return b, nil
}

// Parse reads a packet, of which nothing is trusted.
func Parse(b []byte) (Message, error) {
	if len(b) < headSize || len(b) > MaxMessage {
		return Message{}, errMalformed
	}
	m := Message{Kind: Kind(b[0]), Number: binary.BigEndian.Uint32(b[1:])}
	b = b[headSize:]
	numbered := false
	switch m.Kind {
	case Run:
		numbered = true
		text, whole := strings.CutSuffix(string(b), "\x00")
		dir, words, some := strings.Cut(text, "\x00")
		if !whole || !some {
			return Message{}, errMalformed
		}
		m.Dir, m.Words = dir, strings.Split(words, "\x00")
	case Start:
		numbered = true
		if len(b) != 0 {
			return Message{}, errMalformed
		}
	case Status, Done:
		numbered = m.Kind == Status
		if len(b) != 1 {
			return Message{}, errMalformed
		}
		m.Code = b[0]
	case Script, Refused:
		limit := MaxText
		if m.Kind == Refused {
			limit = MaxWhy
		}
		if len(b) > limit {
			return Message{}, errMalformed
		}
		m.Text = string(b)
	default:
		return Message{}, errMalformed
	}
	if numbered != (m.Number != 0) {
		return Message{}, errMalformed
	}
	return m, nil
}
