package kube

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/chaperone-dev/chaperone/sidecar/kube/websocket"
	"github.com/chaperone-dev/chaperone/sidecar/record"
	"github.com/chaperone-dev/chaperone/sidecar/session"
)

// The protocols within SPDY and WebSocket, each in the order in which the API server prefers them
// (k8s.io/apimachinery/pkg/util/remotecommand, k8s.io/apimachinery/pkg/util/portforward).
var (
	execOverSPDY       = []string{"v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io"}
	execOverSocket     = []string{"v5.channel.k8s.io", "v4.channel.k8s.io", "channel.k8s.io"}
	forwardOverSPDY    = []string{"portforward.k8s.io"}
	forwardOverSocket  = []string{"v4.channel.k8s.io"}
	forwardOverATunnel = []string{tunnelled}
)

// tunnelled is SPDY in the messages of a WebSocket (KEP-4006).
const tunnelled = "SPDY/3.1+portforward.k8s.io"

// encoded are the WebSocket protocols whose messages are text, with content in base64, and what they are otherwise.
var encoded = map[string]string{
	"v4.base64.channel.k8s.io": "v4.channel.k8s.io",
	"base64.channel.k8s.io":    "channel.k8s.io",
}

// upgrading is what an agent asks for and gets.
type upgrading struct {
	socket bool // WebSocket, else SPDY
	// offered are the protocols of the agent's that are spoken here, in its order, and asked those that the API server
	// is offered for them.
	offered, asked []string
	// chosen is the API server's choice of asked, and answered the one of offered that the agent is told.
	chosen, answered string
	key              string // of the agent's WebSocket
}

// upgrade serves exec, attach and port-forward. Both ends are terminated; the leg to the API server has the transport of
// the agent's, because the API server asks for other verbs of each.
func (x *exchange) upgrade(granted *session.Grant) {
	result := record.Event{Kind: record.KindResult, Command: x.number}
	if err := x.connectStreams(granted, &result); err != nil {
		var refused *refusal
		if errors.As(err, &refused) {
			result.Tag = strconv.Itoa(refused.code)
			x.refuse(refused)
		}
		if result.Error == "" {
			result.Error = err.Error()
		}
	}
	result.Error, _ = x.rules.detectors.Text(result.Error, maxRecorded)
	_ = x.session.Recorder.Record(result)
}

// connectStreams returns a *refusal where nothing has been sent to the agent yet.
func (x *exchange) connectStreams(granted *session.Grant, result *record.Event) error {
	up, err := x.upgrading()
	if err != nil {
		return &refusal{code: http.StatusBadRequest, reason: "BadRequest", message: fmt.Sprintf(
			"Chaperone cannot serve the %s: %v", x.request.Kubernetes.Subresource, err)}
	}
	u, err := x.upstream(x.r.Context())
	if err != nil {
		return unreachable(x.rules.Name(), err)
	}
	conn, err := u.link(x.r.Context(), x.opts.ConnectTimeout)
	if err != nil {
		return unreachable(x.rules.Name(), err)
	}
	defer conn.Close()
	stop := context.AfterFunc(x.r.Context(), func() { conn.Close() })
	response, err := x.ask101(conn, u, up)
	if !stop() || err != nil {
		if x.r.Context().Err() != nil {
			return x.interrupted()
		}
		return unreachable(x.rules.Name(), err)
	}
	defer response.Body.Close()
	result.Tag = strconv.Itoa(response.StatusCode)
	if response.StatusCode != http.StatusSwitchingProtocols {
		if response.StatusCode == http.StatusUnauthorized {
			x.account.forget()
		}
		x.w.Header().Set("Connection", "close")
		return x.answer(response, granted, result)
	}
	if err := up.agreed(response.Header); err != nil {
		return unreachable(x.rules.Name(), err)
	}
	agent, buffered, err := http.NewResponseController(x.w).Hijack()
	if err != nil {
		return unreachable(x.rules.Name(), err)
	}
	defer agent.Close()
	_ = agent.SetDeadline(time.Time{})
	_ = conn.SetDeadline(time.Time{})
	// A program may have better things to do than to read its input, for as long as it likes.
	r := &relay{x: x, result: result, agent: newEnd(agent, buffered.Reader, x.opts.WriteTimeout), up: newEnd(conn.Conn, conn.reader, 0)}
	if err := r.agent.send(up.answer()); err != nil {
		return errAgentGone
	}
	u.another(x.opts.ConnectTimeout)
	result.Tag = ""
	r.serve(up, granted)
	return nil
}

// upgrading reads what the agent asks for.
func (x *exchange) upgrading() (*upgrading, error) {
	h := x.r.Header
	up := &upgrading{}
	forward := x.request.Forward
	var known []string
	switch to := h.Get("Upgrade"); {
	case len(h["Upgrade"]) != 1:
		return nil, errors.New("it asks for more than one protocol at once")
	case strings.EqualFold(to, "websocket"):
		if x.r.Method != http.MethodGet || h.Get("Sec-Websocket-Version") != "13" || len(h["Sec-Websocket-Key"]) != 1 || !websocket.ValidKey(h.Get("Sec-Websocket-Key")) {
			return nil, errors.New("it opens no WebSocket as RFC 6455 says")
		}
		up.socket, up.key = true, h.Get("Sec-Websocket-Key")
		known = execOverSocket
		if forward {
			known = slices.Concat(forwardOverATunnel, forwardOverSocket)
		}
		up.offer(h["Sec-Websocket-Protocol"], known, true)
	case strings.EqualFold(to, "SPDY/3.1"):
		known = execOverSPDY
		if forward {
			known = forwardOverSPDY
		}
		up.offer(h["X-Stream-Protocol-Version"], known, false)
	default:
		return nil, fmt.Errorf("it asks for %q, and there are SPDY/3.1 and WebSocket", to)
	}
	if len(up.asked) == 0 {
		return nil, fmt.Errorf("it speaks none of the protocols %s", strings.Join(known, ", "))
	}
	return up, nil
}

// offer takes of the agent's protocols those that are spoken here.
func (u *upgrading) offer(lines, known []string, base64 bool) {
	for _, line := range lines {
		for name := range strings.SplitSeq(line, ",") {
			name = strings.TrimSpace(name)
			plain := name
			if base64 && encoded[name] != "" {
				plain = encoded[name]
			}
			if !slices.Contains(known, plain) || slices.Contains(u.offered, name) {
				continue
			}
			u.offered = append(u.offered, name)
			if !slices.Contains(u.asked, plain) {
				u.asked = append(u.asked, plain)
			}
		}
	}
}

// answering is how long the API server may take to answer: it asks a kubelet first, which starts the program.
const answering = 2 * time.Minute

// base64 tells whether the agent's messages are text.
func (u *upgrading) base64() bool { return encoded[u.answered] != "" }

// ask101 sends the request upstream and reads the answer's header.
func (x *exchange) ask101(conn *link, u *upstream, up *upgrading) (*http.Response, error) {
	header := requestHeader(x.r.Header, false)
	u.authorize(header)
	header.Set("Connection", "Upgrade")
	key := ""
	if up.socket {
		key = websocket.Key()
		header.Set("Upgrade", "websocket")
		header.Set("Sec-Websocket-Version", "13")
		header.Set("Sec-Websocket-Key", key)
		header.Set("Sec-Websocket-Protocol", strings.Join(up.asked, ", "))
	} else {
		header.Set("Upgrade", "SPDY/3.1")
		header["X-Stream-Protocol-Version"] = up.asked
	}
	request := &http.Request{
		Method: x.request.Method,
		URL: &url.URL{
			Scheme: "https", Host: u.host + ":" + strconv.Itoa(int(x.rules.Port())),
			Path: unescaped(x.request.Path), RawPath: x.request.Path, RawQuery: x.request.Query.Encode(),
		},
		Host: u.host, Header: header, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}
	_ = conn.SetDeadline(time.Now().Add(answering))
	if err := request.Write(conn); err != nil {
		return nil, err
	}
	response, err := http.ReadResponse(conn.reader, request)
	if err != nil {
		return nil, err
	}
	conn.unbounded()
	if response.StatusCode == http.StatusSwitchingProtocols && up.socket && response.Header.Get("Sec-Websocket-Accept") != websocket.Accept(key) {
		return nil, errors.New("it answered the key of a WebSocket wrongly")
	}
	return response, nil
}

// agreed notes what the API server chose.
func (u *upgrading) agreed(h http.Header) error {
	want, chosen := "SPDY/3.1", h.Get("X-Stream-Protocol-Version")
	if u.socket {
		want, chosen = "websocket", h.Get("Sec-Websocket-Protocol")
	}
	if !strings.EqualFold(h.Get("Upgrade"), want) {
		return fmt.Errorf("it switched to %q, not to %s", h.Get("Upgrade"), want)
	}
	if !slices.Contains(u.asked, chosen) || h.Get("Sec-Websocket-Extensions") != "" {
		return fmt.Errorf("it chose %q, which it was not offered", chosen)
	}
	u.chosen = chosen
	for _, name := range u.offered {
		if name == chosen || encoded[name] == chosen {
			u.answered = name
			return nil
		}
	}
	return errors.New("it chose nothing that the agent speaks") // offered has each of asked
}

// answer is the header of the agent's answer.
func (u *upgrading) answer() []byte {
	var b strings.Builder
	b.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n")
	if u.socket {
		fmt.Fprintf(&b, "Upgrade: websocket\r\nSec-WebSocket-Accept: %s\r\nSec-WebSocket-Protocol: %s\r\n\r\n", websocket.Accept(u.key), u.answered)
	} else {
		fmt.Fprintf(&b, "Upgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: %s\r\n\r\n", u.answered)
	}
	return []byte(b.String())
}
