package proxy

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/record"
	"github.com/chaperone-dev/chaperone/sidecar/session"
)

// farewell bounds telling an agent why it is refused.
const farewell = 5 * time.Second

// unserved refuses connections to targets of a protocol that this version does not serve, in the protocol's own
// words where it has some.
type unserved struct{ protocol policy.Protocol }

var _ session.Protocol = unserved{}

// Serve tells the agent and records that it did.
func (u unserved) Serve(_ context.Context, s *session.Session) error {
	defer s.Agent.Close()
	why := fmt.Sprintf("Chaperone: this version does not serve %s targets; the connection to %s is refused", u.protocol, s.Rules().Name())
	err := s.Recorder.Record(record.Event{Kind: record.KindConnect, Protocol: string(u.protocol), Peer: s.Original.String()})
	if err == nil {
		err = s.Recorder.Record(record.Event{Kind: record.KindDisconnect, Error: why})
	}
	_ = s.Agent.SetDeadline(time.Now().Add(farewell))
	if u.protocol == policy.ProtocolSSH {
		// A server may send lines before its version (RFC 4253 4.2).
		_, _ = io.WriteString(s.Agent, why+"\r\n")
	}
	return err
}
