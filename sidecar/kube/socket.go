package kube

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"

	"github.com/chaperone-dev/chaperone/sidecar/kube/websocket"
	"github.com/chaperone-dev/chaperone/sidecar/stream"
)

// socket is one end that speaks WebSocket, in messages that are each for a channel.
type socket struct {
	*end
	frames *websocket.Reader
	client bool // the peer is a client
	base64 bool // of the v4.base64.channel.k8s.io protocol: text, its first character the channel's digit
	more   bool // the message that is read goes on in another frame
	// control takes the control frames that come meanwhile.
	control func(op websocket.Opcode, payload []byte) error
}

// The channels (k8s.io/apimachinery/pkg/util/remotecommand).
const (
	channelStdin  = 0
	channelStdout = 1
	channelStderr = 2
	channelError  = 3
	channelResize = 4
	channelClose  = 255 // of v5: its content is the channel that ends
)

func newSocket(e *end, client, base64 bool) *socket {
	s := &socket{end: e, frames: websocket.NewReader(e.r, client), client: client, base64: base64}
	s.control = func(websocket.Opcode, []byte) error { return nil }
	return s
}

// message sends content on a channel.
func (s *socket) message(channel byte, content []byte) error {
	return s.build(func(dst []byte) ([]byte, error) {
		if s.base64 {
			text := base64.StdEncoding.AppendEncode([]byte{'0' + channel}, content)
			return websocket.AppendFrame(dst, websocket.Text, !s.client, text), nil
		}
		return websocket.AppendFrame(dst, websocket.Binary, !s.client, []byte{channel}, content), nil
	})
}

// frame sends a frame as it is.
func (s *socket) frame(op websocket.Opcode, payload []byte) error {
	return s.build(func(dst []byte) ([]byte, error) { return websocket.AppendFrame(dst, op, !s.client, payload), nil })
}

// next waits for a message, and returns its channel and its content.
func (s *socket) next() (channel byte, content io.Reader, err error) {
	if err := s.begin(); err != nil {
		return 0, nil, err
	}
	var first [1]byte
	if _, err := io.ReadFull(message{s}, first[:]); err != nil {
		if errors.Is(err, io.EOF) {
			return 0, nil, errors.New("a message without a channel")
		}
		return 0, nil, err
	}
	if !s.base64 {
		return first[0], message{s}, nil
	}
	if first[0] < '0' || first[0] > '9' {
		return 0, nil, errors.New("a message whose channel is no digit")
	}
	return first[0] - '0', base64.NewDecoder(base64.StdEncoding, message{s}), nil
}

// begin waits for the first frame of a message; what was not read of the one before is skipped.
func (s *socket) begin() error {
	if s.more {
		if _, err := io.Copy(io.Discard, message{s}); err != nil {
			return err
		}
	}
	return s.data()
}

// data waits for a frame of a message.
func (s *socket) data() error {
	for {
		f, err := s.frames.Next()
		if err != nil {
			return err
		}
		if !f.Opcode.Control() {
			s.more = !f.Final
			return nil
		}
		payload, err := s.frames.Control()
		if err != nil {
			return err
		}
		if err := s.control(f.Opcode, payload); err != nil {
			return err
		}
		if f.Opcode == websocket.Close {
			return errPeerClosed
		}
	}
}

// message is what is left of a message, over all of its frames.
type message struct{ *socket }

func (m message) Read(p []byte) (int, error) {
	for {
		n, err := m.frames.Fill(p)
		if n > 0 {
			return n, nil
		}
		switch {
		case err == nil:
		case !errors.Is(err, io.EOF):
			return 0, err
		case !m.more:
			return 0, io.EOF
		default:
			if err := m.data(); err != nil {
				return 0, err
			}
		}
	}
}

// whole reads content that is to be seen at once.
func whole(content io.Reader, most int) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(content, int64(most)+1))
	if err == nil && len(b) > most {
		err = fmt.Errorf("a message of more than %d bytes", most)
	}
	return b, err
}

// pieces hands content on as it comes; an empty one, too.
func pieces(content io.Reader, to func(piece []byte) error) error {
	b := stream.Chunks.Get().(*[]byte)
	defer stream.Chunks.Put(b)
	for first := true; ; first = false {
		n, err := content.Read(*b)
		if n > 0 || first && errors.Is(err, io.EOF) {
			if terr := to((*b)[:n]); terr != nil {
				return terr
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
