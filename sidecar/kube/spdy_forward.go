package kube

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"

	"github.com/chaperone-dev/chaperone/sidecar/kube/spdy"
	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/session"
)

// spdyForward is port-forward over SPDY: for each connection to a port the client opens a stream for errors and one for
// data (k8s.io/client-go/tools/portforward). Ports are judged as they are asked for.
type spdyForward struct {
	r         *relay
	granted   *session.Grant
	agent, up *spdyEnd
	unwatch   context.CancelFunc // ends the review of open connections

	judging sync.Mutex // guards ports and judged, and orders what opens with what is reviewed
	// ports are verdicts of the rules judged, nil where a port is allowed.
	ports  map[uint16]*refusal
	judged *policy.Destination

	mu      sync.Mutex // guards what follows
	streams map[uint32]*half
	bytes   int64
}

// half is a stream of a port-forward: its errors or its data.
type half struct {
	port    uint16
	errors  bool
	refused *refusal // the stream is not known upstream
	// ended says which side sends nothing more.
	agentEnded, upEnded bool
}

// maxForwarded is how many streams may be open at once: two for each connection.
const maxForwarded = 512

// maxJudged is how many ports' verdicts are kept; an agent may ask for all that there are.
const maxJudged = 256

func newSPDYForward(r *relay, granted *session.Grant, agent, up *spdyEnd) *spdyForward {
	s := &spdyForward{r: r, granted: granted, agent: agent, up: up, streams: make(map[uint32]*half)}
	_, s.unwatch = r.x.session.WhileAllowed(r.x.r.Context(), r.x.rules.Destination, func(now *policy.Destination) error {
		s.review(now)
		return nil
	})
	return s
}

// find returns a stream that is open.
func (s *spdyForward) find(number uint32) *half {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.streams[number]
}

// over notes that a side has ended its half, or with reset the whole.
func (s *spdyForward) over(number uint32, agent, up bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.streams[number]
	if f == nil {
		return
	}
	f.agentEnded, f.upEnded = f.agentEnded || agent, f.upEnded || up
	if f.agentEnded && f.upEnded {
		delete(s.streams, number)
	}
}

func (s *spdyForward) count(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bytes += int64(n)
}

func (s *spdyForward) upwards() error {
	for {
		f, err := s.agent.frames.Next()
		if err != nil {
			return err
		}
		switch f.Kind {
		case spdy.SynStream:
			err = s.open(&f)
		case spdy.Data:
			if at := s.find(f.Stream); at != nil && at.refused == nil {
				err = relayData(s.up, s.agent, &f, s.count)
			}
			if f.Fin() {
				s.over(f.Stream, true, false)
			}
		case spdy.RstStream:
			if at := s.find(f.Stream); at != nil && at.refused == nil {
				err = s.up.frame(&f)
			}
			s.over(f.Stream, true, true)
		case spdy.Ping, spdy.GoAway:
			err = s.up.frame(&f)
		case spdy.Settings, spdy.WindowUpdate:
		default:
			err = fmt.Errorf("the agent sent a SPDY frame of the kind %d, which port-forward does not have", f.Kind)
		}
		if err != nil {
			return err
		}
	}
}

// open takes a stream of the agent's: upstream, or where its port is refused to an end that says why.
func (s *spdyForward) open(f *spdy.Frame) error {
	port, err := strconv.ParseUint(f.Get("port"), 10, 16)
	kind, id := f.Get("streamtype"), f.Get("requestid")
	_, iderr := strconv.ParseUint(id, 10, 63)
	if err != nil || port == 0 || kind != "error" && kind != "data" || id != "" && iderr != nil || f.Stream%2 == 0 {
		return errors.New("the agent opened a stream that is none of port-forward's")
	}
	refused, err := s.take(f, uint16(port), kind == "error")
	if err != nil {
		return err
	}
	if refused == nil {
		headers := []spdy.Header{{Name: "streamtype", Value: kind}, {Name: "port", Value: strconv.FormatUint(port, 10)}}
		if id != "" {
			headers = append(headers, spdy.Header{Name: "requestid", Value: id})
		}
		return s.up.frame(&spdy.Frame{Kind: spdy.SynStream, Flags: f.Flags & spdy.FlagFin, Stream: f.Stream, Priority: f.Priority, Headers: headers})
	}
	if err := s.agent.frame(&spdy.Frame{Kind: spdy.SynReply, Stream: f.Stream}); err != nil {
		return err
	}
	var why []byte
	if kind == "error" {
		why = []byte(refused.message)
	}
	err = s.agent.data(f.Stream, true, why)
	s.over(f.Stream, false, true)
	return err
}

// take judges a stream that is opened, and notes it.
func (s *spdyForward) take(f *spdy.Frame, port uint16, errors bool) (*refusal, error) {
	s.judging.Lock()
	defer s.judging.Unlock()
	refused := s.judge(port)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.streams[f.Stream] != nil || len(s.streams) >= maxForwarded {
		return nil, fmt.Errorf("the agent opened a stream twice, or more than %d", maxForwarded)
	}
	s.streams[f.Stream] = &half{port: port, errors: errors, refused: refused, agentEnded: f.Fin()}
	return refused, nil
}

// judge decides on a port once under the same rules, and records it.
func (s *spdyForward) judge(port uint16) *refusal {
	x := s.r.x
	now := x.session.Rules()
	if s.ports == nil || now != s.judged || len(s.ports) >= maxJudged {
		s.ports, s.judged = make(map[uint16]*refusal), now
	}
	if refused, known := s.ports[port]; known {
		return refused
	}
	named := x.request.Kubernetes.Ports
	v, asked := s.verdict(now, port)
	var refused *refusal
	switch {
	case v.Action == policy.Deny:
		refused = denial(v)
	case len(named) > 0 && !slices.Contains(named, port):
		// What was judged and approved is the request, which named its ports.
		refused = &refusal{message: fmt.Sprintf("port %d is none of those that the connection was opened for (%s); refused by Chaperone. "+
			"Open another one for it.", port, text(x.request))}
		v.Action, v.Message = policy.Deny, refused.message
	case v.Action == policy.RequireApproval && (s.granted == nil || v.Rule != x.verdict.Rule || v.Policy != x.verdict.Policy):
		refused = &refusal{message: fmt.Sprintf("port %d is forwarded when people approve (%s), who are asked when the connection is opened; it was opened for other ports. "+
			"Open one for this port alone, in a policy whose rule for it comes first.", port, ruling(v))}
		v.Action, v.Message = policy.Deny, refused.message
	case len(named) > 0:
		s.ports[port] = nil
		return nil // recorded with the request
	}
	if err := x.recordPort(v, asked); err != nil && refused == nil {
		refused = unrecorded(err)
	}
	s.ports[port] = refused
	return refused
}

// verdict is what the rules say of a port, and how people read what is judged.
func (s *spdyForward) verdict(now *policy.Destination, port uint16) (v policy.Verdict, asked string) {
	x := s.r.x
	k := x.request.Kubernetes
	asked = text(x.request)
	if !slices.Contains(k.Ports, port) {
		asked += fmt.Sprintf(" %d", port)
	}
	k.Ports, k.Opening = []uint16{port}, false
	rules := x.rules
	if now != nil { // they may have changed since the connection was opened
		rules = x.compiled.of(now)
	}
	v, _ = rules.DecideAll([]policy.Command{{Protocol: policy.ProtocolKubernetes, Text: asked, Kubernetes: &k}})
	return v, asked
}

func (s *spdyForward) downwards() error {
	for {
		f, err := s.up.frames.Next()
		if err = s.r.heard(err); err != nil {
			return err
		}
		at := s.find(f.Stream)
		known := at != nil && at.refused == nil
		switch f.Kind {
		case spdy.SynReply:
			if known {
				err = s.agent.frame(&spdy.Frame{Kind: spdy.SynReply, Flags: f.Flags & spdy.FlagFin, Stream: f.Stream})
			}
		case spdy.Data:
			if known {
				err = relayData(s.agent, s.up, &f, s.count)
			}
			if f.Fin() {
				s.over(f.Stream, false, true)
			}
		case spdy.RstStream:
			if known {
				err = s.agent.frame(&f)
			}
			s.over(f.Stream, true, true)
		case spdy.Ping, spdy.GoAway:
			err = s.agent.frame(&f)
		case spdy.Settings, spdy.WindowUpdate:
		default:
			err = fmt.Errorf("the API server sent a SPDY frame of the kind %d, which port-forward does not have", f.Kind)
		}
		if err != nil {
			return err
		}
	}
}

func (s *spdyForward) finish(string) {
	s.unwatch()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.r.result.Bytes = s.bytes
}
