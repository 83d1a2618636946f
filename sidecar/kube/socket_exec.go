package kube

import (
	"fmt"
	"io"

	"github.com/chaperone-dev/chaperone/sidecar/kube/websocket"
)

// socketExec is exec and attach over a WebSocket.
type socketExec struct {
	*program
	agent, up *socket
	halves    bool // v5: the agent may end its standard input alone
}

func newSocketExec(r *relay, p *program, up *upgrading) *socketExec {
	s := &socketExec{program: p, agent: newSocket(r.agent, true, up.base64()), up: newSocket(r.up, false, false), halves: up.chosen == "v5.channel.k8s.io"}
	for channel, name := range map[byte]string{channelStdout: "stdout", channelStderr: "stderr"} {
		p.output(name, channelWriter{s.agent, channel})
	}
	s.agent.control = s.up.frame
	s.up.control = r.unlessCut(func(op websocket.Opcode, payload []byte) error {
		if op == websocket.Close {
			if err := s.drain(); err != nil {
				return err
			}
		}
		return s.agent.frame(op, payload)
	})
	return s
}

// channelWriter sends on one channel.
type channelWriter struct {
	to      *socket
	channel byte
}

func (w channelWriter) Write(p []byte) (int, error) { return len(p), w.to.message(w.channel, p) }

func (s *socketExec) upwards() error {
	for {
		channel, content, err := s.agent.next()
		if err != nil {
			return err
		}
		switch {
		case channel == channelStdin && s.r.x.request.Exec.Stdin:
			err = pieces(content, func(piece []byte) error { return s.up.message(channelStdin, piece) })
		case channel == channelResize:
			var size []byte
			if size, err = whole(content, maxResize); err == nil {
				s.resize(size)
				err = s.up.message(channelResize, size)
			}
		case channel == channelClose && s.halves:
			var which []byte
			if which, err = whole(content, 1); err == nil {
				err = s.up.message(channelClose, which)
			}
		default:
			err = fmt.Errorf("the agent wrote to channel %d, which is not its to write to", channel)
		}
		if err != nil {
			return err
		}
	}
}

func (s *socketExec) downwards() error {
	for {
		channel, content, err := s.up.next()
		if err = s.r.heard(err); err != nil {
			return err
		}
		switch channel {
		case channelStdout, channelStderr:
			out := s.out(map[byte]string{channelStdout: "stdout", channelStderr: "stderr"}[channel])
			err = pieces(content, func(piece []byte) error {
				if len(piece) == 0 {
					return s.agent.message(channel, nil) // servers begin so
				}
				_, werr := out.Write(piece)
				return werr
			})
		case channelError:
			err = s.end(content)
		case channelStdin, channelResize: // servers begin with an empty message on each channel
			_, err = whole(content, 0)
		default:
			err = fmt.Errorf("the API server wrote to channel %d, which it does not have", channel)
		}
		if err != nil {
			return err
		}
	}
}

// end hands on how the program ended, behind all that it printed.
func (s *socketExec) end(content io.Reader) error {
	status, err := whole(content, maxStatus)
	if err != nil {
		return err
	}
	if len(status) == 0 {
		return s.agent.message(channelError, nil)
	}
	if err := s.drain(); err != nil {
		return err
	}
	return s.agent.message(channelError, s.status(status))
}

func (s *socketExec) say(message string) {
	_ = s.drain()
	_ = s.agent.message(channelError, failureStatus(message))
	_ = s.agent.frame(websocket.Close, []byte{1000 >> 8, 1000 & 0xff}) // normal closure (RFC 6455 7.4.1)
}
