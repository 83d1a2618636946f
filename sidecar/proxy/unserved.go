package proxy

import (
	"context"
	"crypto/tls"
	"encoding/json"
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
	switch u.protocol {
	case policy.ProtocolSSH:
		// A server may send lines before its version (RFC 4253 4.2).
		_, _ = io.WriteString(s.Agent, why+"\r\n")
	case policy.ProtocolKubernetes:
		u.status(s, why)
	}
	return err
}

// status answers the first request as an API server would.
func (unserved) status(s *session.Session, why string) {
	conn := tls.Server(s.Agent, &tls.Config{GetCertificate: s.Leaf, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}})
	// The request is read so that the answer is not lost to a reset; what it says does not matter.
	if _, err := conn.Read(make([]byte, 4<<10)); err != nil {
		return
	}
	body, err := json.Marshal(map[string]any{
		"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotImplemented", "code": 501, "message": why,
	})
	if err != nil {
		return
	}
	_, _ = fmt.Fprintf(conn, "HTTP/1.1 501 Not Implemented\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", len(body), body)
	_ = conn.CloseWrite()
}
