package ssh

import (
	"io"

	"golang.org/x/crypto/ssh"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/record"
	"github.com/chaperone-dev/chaperone/sidecar/session"
)

// terminal is the recording of one terminal.
type terminal struct {
	recorder session.Recorder
}

// newTerminal begins the recording. What is on a terminal is shown only as far as it is recorded, where the policy
// blocks on failure: the recorder says so.
func (ch *channel) newTerminal(p plan) (*terminal, error) {
	t := &terminal{recorder: ch.c.session.Terminal()}
	client, _ := ch.c.masking().Text(string(ch.c.agent.conn.ClientVersion()), 256)
	text, length := ch.c.masking().Text(p.text, maxRecordedText)
	for _, e := range []record.Event{
		{Kind: record.KindConnect, Protocol: string(policy.ProtocolSSH), Peer: ch.c.session.Original.String(), User: ch.c.upstream.user, Client: client},
		{Kind: record.KindResize, Columns: size(ch.pty.Columns, 80), Lines: size(ch.pty.Rows, 24)},
		{Kind: record.KindCommand, Command: 1, Text: text, TextLength: length, Verdict: string(policy.Allow)},
	} {
		if err := t.recorder.Record(e); err != nil {
			t.close(err.Error())
			return nil, err
		}
	}
	return t, nil
}

// typed is what is typed on a terminal. What was asked before (window-change) is passed on before.
type typed struct {
	ch *channel
	to io.Writer
}

func (t typed) Write(p []byte) (int, error) {
	settled := make(chan struct{})
	select {
	case t.ch.settled <- settled:
		<-settled
	case <-t.ch.ctx.Done():
	}
	return t.to.Write(p)
}

// maxSize bounds a terminal's size in a recording; no screen has as many characters.
const maxSize = 1000

func size(n uint32, otherwise int) int {
	if n == 0 {
		return otherwise
	}
	return int(min(n, maxSize))
}

// resize records a window-change (RFC 4254 6.7).
func (t *terminal) resize(payload []byte) {
	var m struct{ Columns, Rows, Width, Height uint32 }
	if ssh.Unmarshal(payload, &m) == nil {
		_ = t.recorder.Record(record.Event{Kind: record.KindResize, Columns: size(m.Columns, 80), Lines: size(m.Rows, 24)})
	}
}

func (t *terminal) close(why string) {
	_ = t.recorder.Record(record.Event{Kind: record.KindDisconnect, Error: why})
	_ = t.recorder.Close()
}
