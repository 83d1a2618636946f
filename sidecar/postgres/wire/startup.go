package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

// MaxStartup is the longest startup packet: the server's own MAX_STARTUP_PACKET_LENGTH
// (src/include/libpq/pqcomm.h), and its length word.
const MaxStartup = 10000 + 4

// Request codes that stand in a startup packet in place of a protocol version (src/include/libpq/pqcomm.h).
const (
	codeCancelRequest = 1234<<16 | 5678
	codeSSLRequest    = 1234<<16 | 5679
	codeGSSENCRequest = 1234<<16 | 5680
)

// Protocol versions.
const (
	Version30 = 3 << 16
	Version32 = 3<<16 | 2
)

// StartupKind is what a startup packet asks for.
type StartupKind uint8

const (
	StartupSession StartupKind = iota + 1
	StartupSSL
	StartupGSS
	StartupCancel
)

// Startup is a packet without a type, as an agent's connection begins with.
type Startup struct {
	Kind StartupKind
	// Version is the protocol version that the agent asked for (StartupSession).
	Version uint32
	// Parameters are the agent's, in order; Options the names of protocol options (_pq_.*), none of which is
	// known.
	Parameters []Parameter
	Options    []string
	// ProcessID and Key are a cancel key (StartupCancel).
	ProcessID uint32
	Key       []byte
}

// Parameter is a startup parameter.
type Parameter struct{ Name, Value string }

// Get returns a parameter's value; of several the last counts, as for the server.
func (s *Startup) Get(name string) string {
	value := ""
	for _, p := range s.Parameters {
		if p.Name == name {
			value = p.Value
		}
	}
	return value
}

// ErrStartup says that a startup packet cannot be read.
var ErrStartup = errors.New("invalid startup packet")

// ParseStartup reads the startup packet at the head of p. n is its size; 0 where more bytes have to come first.
func ParseStartup(p []byte) (s *Startup, n int, err error) {
	if len(p) < 4 {
		return nil, 0, nil
	}
	size := binary.BigEndian.Uint32(p)
	if size < 8 || size > MaxStartup {
		return nil, 0, fmt.Errorf("%w: its length is %d", ErrStartup, size)
	}
	n = int(size)
	if len(p) < n {
		return nil, 0, nil
	}
	code, body := binary.BigEndian.Uint32(p[4:]), p[8:n]
	switch code {
	case codeSSLRequest, codeGSSENCRequest:
		if len(body) != 0 {
			return nil, 0, fmt.Errorf("%w: a request of %d bytes", ErrStartup, n)
		}
		if code == codeSSLRequest {
			return &Startup{Kind: StartupSSL}, n, nil
		}
		return &Startup{Kind: StartupGSS}, n, nil
	case codeCancelRequest:
		// Protocol 3.2 keys have 4 to 256 bytes behind the process id.
		if len(body) < 8 || len(body) > 4+256 {
			return nil, 0, fmt.Errorf("%w: a cancel key of %d bytes", ErrStartup, len(body))
		}
		return &Startup{Kind: StartupCancel, ProcessID: binary.BigEndian.Uint32(body), Key: bytes.Clone(body[4:])}, n, nil
	}
	s = &Startup{Kind: StartupSession, Version: code}
	if code>>16 != 3 {
		return s, n, nil
	}
	return s, n, s.parameters(body)
}

func (s *Startup) parameters(body []byte) error {
	for {
		name, rest, ok := cut(body)
		if !ok {
			return fmt.Errorf("%w: it has no terminator", ErrStartup)
		}
		if len(name) == 0 {
			if len(rest) != 0 {
				return fmt.Errorf("%w: bytes behind its terminator", ErrStartup)
			}
			return nil
		}
		value, rest, ok := cut(rest)
		if !ok {
			return fmt.Errorf("%w: parameter %q has no value", ErrStartup, name)
		}
		if strings.HasPrefix(string(name), "_pq_.") {
			s.Options = append(s.Options, string(name))
		} else {
			s.Parameters = append(s.Parameters, Parameter{string(name), string(value)})
		}
		body = rest
	}
}

// Negotiated is the version that the session speaks, and whether the agent has to be told.
func (s *Startup) Negotiated() (version uint32, tell bool) {
	version = min(s.Version, Version32)
	if version > Version30 && version < Version32 {
		version = Version30 // 3.1 was never a version
	}
	return version, version != s.Version || len(s.Options) > 0
}

// AppendNegotiation appends NegotiateProtocolVersion, which pgproto3 v2 does not know.
func AppendNegotiation(dst []byte, version uint32, options []string) []byte {
	at := len(dst)
	dst = append(dst, 'v', 0, 0, 0, 0)
	dst = binary.BigEndian.AppendUint32(dst, version)
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(options)))
	for _, o := range options {
		dst = append(append(dst, o...), 0)
	}
	binary.BigEndian.PutUint32(dst[at+1:], uint32(len(dst)-at-1))
	return dst
}

// AppendKey appends BackendKeyData; pgproto3 v2 knows only keys of four bytes.
func AppendKey(dst []byte, processID uint32, key []byte) []byte {
	dst = append(dst, 'K')
	dst = binary.BigEndian.AppendUint32(dst, uint32(8+len(key)))
	dst = binary.BigEndian.AppendUint32(dst, processID)
	return append(dst, key...)
}
