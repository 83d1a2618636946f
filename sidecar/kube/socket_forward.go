package kube

import (
	"fmt"
	"sync/atomic"

	"github.com/chaperone-dev/chaperone/sidecar/kube/websocket"
)

// socketForward is port-forward over the channels of a WebSocket: two for each port of the request, its data and its
// errors. The ports were judged with the request.
type socketForward struct {
	r         *relay
	agent, up *socket
	bytes     atomic.Int64
}

func newSocketForward(r *relay, up *upgrading) *socketForward {
	s := &socketForward{r: r, agent: newSocket(r.agent, true, up.base64()), up: newSocket(r.up, false, false)}
	s.agent.control, s.up.control = s.up.frame, r.unlessCut(s.agent.frame)
	return s
}

func (s *socketForward) upwards() error   { return s.copy(s.up, s.agent) }
func (s *socketForward) downwards() error { return s.copy(s.agent, s.up) }

func (s *socketForward) copy(to, from *socket) error {
	for {
		channel, content, err := from.next()
		if err != nil {
			return err
		}
		if int(channel) >= 2*len(s.r.x.request.Kubernetes.Ports) {
			return fmt.Errorf("a message for channel %d, of which no port was asked for", channel)
		}
		if err := pieces(content, func(piece []byte) error {
			s.bytes.Add(int64(len(piece)))
			return to.message(channel, piece)
		}); err != nil {
			return err
		}
	}
}

func (s *socketForward) say(message string) {
	if len(s.r.x.request.Kubernetes.Ports) > 0 {
		_ = s.agent.message(1, []byte(message))
	}
	_ = s.agent.frame(websocket.Close, []byte{1000 >> 8, 1000 & 0xff})
}

func (s *socketForward) finish(string) { s.r.result.Bytes = s.bytes.Load() }
