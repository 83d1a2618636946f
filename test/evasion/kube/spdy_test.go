package kube

import (
	"bytes"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/moby/spdystream/spdy"
)

// script builds what an adversary sends, by the framer that Kubernetes' own clients have.
type script struct {
	t    testing.TB
	wire *bytes.Buffer
	f    *spdy.Framer
}

func newScript(t testing.TB) *script {
	t.Helper()
	wire := &bytes.Buffer{}
	f, err := spdy.NewFramer(wire, bytes.NewReader(nil))
	if err != nil {
		t.Fatal(err)
	}
	return &script{t, wire, f}
}

func (s *script) frame(f spdy.Frame) *script {
	s.t.Helper()
	if err := s.f.WriteFrame(f); err != nil {
		s.t.Fatal(err)
	}
	return s
}

func (s *script) open(id spdy.StreamId, kind string, flags ...spdy.ControlFlags) *script {
	f := &spdy.SynStreamFrame{StreamId: id, Headers: http.Header{"Streamtype": {kind}}}
	for _, flag := range flags {
		f.CFHeader.Flags |= flag
	}
	return s.frame(f)
}

func (s *script) data(id spdy.StreamId, payload string, flags ...spdy.DataFlags) *script {
	f := &spdy.DataFrame{StreamId: id, Data: []byte(payload)}
	for _, flag := range flags {
		f.Flags |= flag
	}
	return s.frame(f)
}

func (s *script) raw(b string) *script {
	s.wire.WriteString(b)
	return s
}

// usual opens the four streams of an exec with standard input: numbers from first on.
func (s *script) usual(first spdy.StreamId) *script {
	return s.open(first, "error").open(first+2, "stdin").open(first+4, "stdout").open(first+6, "stderr")
}

// streamsOf reads what came on each stream until the end.
func streamsOf(c *client) map[spdy.StreamId]string {
	out := make(map[spdy.StreamId]string)
	f, err := spdy.NewFramer(io.Discard, c.r)
	if err != nil {
		return out
	}
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			return out
		}
		if d, ok := frame.(*spdy.DataFrame); ok {
			out[d.StreamId] += string(d.Data)
		}
	}
}

// TestSPDYOfEveryShape sends standard input in frames of shapes that have to be understood: the container gets the bytes,
// no more and no fewer, and what it prints is masked.
func TestSPDYOfEveryShape(t *testing.T) {
	s := front(t, open())
	for name, c := range map[string]struct {
		build  func(*script)
		stdout spdy.StreamId
		want   string
		piece  int // bytes a write; 0: all at once
	}{
		"all frames in one write": {func(s *script) { s.usual(1).data(3, "good", spdy.DataFlagFin) }, 5, "good", 0},
		"a byte a write":          {func(s *script) { s.usual(1).data(3, "good", spdy.DataFlagFin) }, 5, "good", 1},
		"numbers over 127":        {func(s *script) { s.usual(129).data(131, "good", spdy.DataFlagFin) }, 133, "good", 0},
		"numbers over 65,535":     {func(s *script) { s.usual(70_001).data(70_003, "good", spdy.DataFlagFin) }, 70_005, "good", 0},
		"the highest numbers":     {func(s *script) { s.usual(0x7ffffff1).data(0x7ffffff3, "good", spdy.DataFlagFin) }, 0x7ffffff5, "good", 0},
		"a frame for each letter": {func(s *script) { s.usual(1).data(3, "g").data(3, "o").data(3, "o").data(3, "d", spdy.DataFlagFin) }, 5, "good", 0},
		"empty frames between":    {func(s *script) { s.usual(1).data(3, "go").data(3, "").data(3, "").data(3, "od", spdy.DataFlagFin) }, 5, "good", 0},
		"an empty last frame":     {func(s *script) { s.usual(1).data(3, "good").data(3, "", spdy.DataFlagFin) }, 5, "good", 0},
		"pings between": {func(s *script) {
			s.usual(1).data(3, "go").frame(&spdy.PingFrame{Id: 1}).frame(&spdy.PingFrame{Id: 3}).data(3, "od", spdy.DataFlagFin)
		}, 5, "good", 0},
		"windows and settings": {func(s *script) {
			s.frame(&spdy.SettingsFrame{FlagIdValues: []spdy.SettingsFlagIdValue{{Id: spdy.SettingsInitialWindowSize, Value: 1}}}).usual(1).frame(&spdy.WindowUpdateFrame{StreamId: 5, DeltaWindowSize: 1}).data(3, "good", spdy.DataFlagFin)
		}, 5, "good", 0},
		"the output's half ended": {func(s *script) {
			s.usual(1).data(5, "", spdy.DataFlagFin).data(7, "", spdy.DataFlagFin).data(1, "", spdy.DataFlagFin).data(3, "good", spdy.DataFlagFin)
		}, 5, "good", 0},
		"data before all are open": {func(s *script) {
			s.open(1, "error").open(3, "stdin").data(3, "good").open(5, "stdout").open(7, "stderr").data(3, "", spdy.DataFlagFin)
		}, 5, "good", 0},
		"streams in another order": {func(s *script) {
			s.open(1, "stdout").open(3, "stderr").open(5, "stdin").open(7, "error").data(5, "good", spdy.DataFlagFin)
		}, 1, "good", 0},
		"the kind in capitals": {func(s *script) {
			s.open(1, "ERROR").open(3, "StdIn").open(5, "STDOUT").open(7, "stderr").data(3, "good", spdy.DataFlagFin)
		}, 5, "good", 0},
		"a card":               {func(s *script) { s.usual(1).data(3, card, spdy.DataFlagFin) }, 5, "", 0},
		"a card in two frames": {func(s *script) { s.usual(1).data(3, card[:9]).data(3, card[9:], spdy.DataFlagFin) }, 5, "", 0},
		"a card, its output far out": {func(s *script) {
			s.open(1, "error").open(3, "stdin").open(1001, "stdout").open(1003, "stderr").data(3, card, spdy.DataFlagFin)
		}, 1001, "", 0},
		"a card, a byte a write": {func(s *script) { s.usual(1).data(3, card, spdy.DataFlagFin) }, 5, "", 1},
		"a card between two requests": {func(s *script) {
			s.usual(1).data(3, card[:4]).frame(&spdy.PingFrame{Id: 9}).data(3, card[4:], spdy.DataFlagFin)
		}, 5, "", 3},
	} {
		t.Run(name, func(t *testing.T) {
			build := newScript(t)
			c.build(build)
			client := dial(t, s.Address(), s.CAPEM())
			client.upgrade(t, "", execPath("&stdin=true", "cat"))
			piece := c.piece
			if piece == 0 {
				piece = build.wire.Len()
			}
			for wire := build.wire.Bytes(); len(wire) > 0; wire = wire[min(piece, len(wire)):] {
				if _, err := client.Write(wire[:min(piece, len(wire))]); err != nil {
					t.Fatal(err)
				}
			}
			got := streamsOf(client)
			if c.want != "" && got[c.stdout] != c.want {
				t.Errorf("got %v", got)
			}
			for _, text := range got {
				if strings.Contains(text, card) {
					t.Errorf("the card is in %v", got)
				}
			}
			if c.want == "" && len(got[c.stdout]) != len(card) {
				t.Errorf("got %v", got)
			}
		})
	}
	livesOn(t, s)
}

// TestSPDYThatIsRefused sends frames that end the session: what follows them does not reach the container.
func TestSPDYThatIsRefused(t *testing.T) {
	s := front(t, open())
	bomb := http.Header{"Streamtype": {"stdin"}, "X": {strings.Repeat("A", 1<<20)}}
	many := http.Header{"Streamtype": {"stdin"}}
	for i := range 200 {
		many.Set("X-"+strings.Repeat("a", i+1), "x")
	}
	for name, build := range map[string]func(*script){
		"standard output written to":  func(s *script) { s.usual(1).data(5, "EVIL") },
		"standard error written to":   func(s *script) { s.usual(1).data(7, "EVIL") },
		"the error stream written to": func(s *script) { s.usual(1).data(1, `{"status":"Success"}`) },
		"two standard inputs":         func(s *script) { s.usual(1).open(9, "stdin").data(9, "EVIL") },
		"two standard outputs":        func(s *script) { s.usual(1).open(9, "stdout") },
		"a stream's number again":     func(s *script) { s.usual(1).open(3, "resize") },
		"a size without a terminal":   func(s *script) { s.usual(1).open(9, "resize").data(9, `{"Width":1,"Height":1}`) },
		"a kind that is not":          func(s *script) { s.usual(1).open(9, "exec") },
		"no kind": func(s *script) {
			s.usual(1).frame(&spdy.SynStreamFrame{StreamId: 9, Headers: http.Header{"Other": {"stdin"}}})
		},
		"a port in an exec": func(s *script) {
			s.usual(1).frame(&spdy.SynStreamFrame{StreamId: 9, Headers: http.Header{"Streamtype": {"data"}, "Port": {"22"}}})
		},
		"an even number":         func(s *script) { s.usual(1).open(10, "stdin") },
		"a header that inflates": func(s *script) { s.frame(&spdy.SynStreamFrame{StreamId: 1, Headers: bomb}) },
		"many headers":           func(s *script) { s.frame(&spdy.SynStreamFrame{StreamId: 1, Headers: many}) },
		"headers behind a stream": func(s *script) {
			s.usual(1).frame(&spdy.HeadersFrame{StreamId: 3, Headers: http.Header{"Streamtype": {"stdout"}}})
		},
		"a reply to nothing":             func(s *script) { s.usual(1).frame(&spdy.SynReplyFrame{StreamId: 3, Headers: http.Header{}}) },
		"another version":                func(s *script) { s.usual(1).raw("\x80\x02\x00\x06\x00\x00\x00\x04\x00\x00\x00\x01") },
		"an unknown kind":                func(s *script) { s.usual(1).raw("\x80\x03\x00\x05\x00\x00\x00\x04\x00\x00\x00\x01") },
		"data for stream 0":              func(s *script) { s.usual(1).raw("\x00\x00\x00\x00\x00\x00\x00\x04EVIL") },
		"a header block of 16 megabytes": func(s *script) { s.raw("\x80\x03\x00\x01\x00\xff\xff\xff\x00\x00\x00\x01") },
		"settings of 16 megabytes":       func(s *script) { s.usual(1).raw("\x80\x03\x00\x04\x00\xff\xff\xff") },
		"a ping of eight bytes":          func(s *script) { s.usual(1).raw("\x80\x03\x00\x06\x00\x00\x00\x08\x00\x00\x00\x01EVIL") },
		"a header block that is no zlib": func(s *script) { s.raw("\x80\x03\x00\x01\x00\x00\x00\x0e\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00EVIL") },
		"half a frame":                   func(s *script) { s.usual(1).raw("\x80\x03\x00") },
		"half of the data that is said":  func(s *script) { s.usual(1).raw("\x00\x00\x00\x05\x00\x00\x10\x00EVIL") },
		"a WebSocket's frames":           func(s *script) { s.raw(frame(fin|binaryOp, "\x00EVIL")) },
		"HTTP in place of frames":        func(s *script) { s.raw("GET /api/v1/namespaces/vault/configmaps HTTP/1.1\r\nHost: x\r\n\r\n") },
		"a stream reset, then written to": func(s *script) {
			s.usual(1).frame(&spdy.RstStreamFrame{StreamId: 3, Status: spdy.Cancel}).data(3, "EVIL")
		},
	} {
		t.Run(name, func(t *testing.T) {
			script := newScript(t)
			build(script)
			client := dial(t, s.Address(), s.CAPEM())
			client.upgrade(t, "", execPath("&stdin=true", "cat"))
			if _, err := client.Write(script.wire.Bytes()); err != nil {
				t.Fatal(err)
			}
			_ = client.CloseWrite()
			for stream, text := range streamsOf(client) {
				if strings.Contains(text, "EVIL") || strings.Contains(text, treasure) || strings.Contains(text, "goroutine") {
					t.Errorf("stream %d: %.300q", stream, text)
				}
			}
		})
	}
	livesOn(t, s)
}

// TestPortsOverSPDY asks for ports in ways that could be judged as another one.
func TestPortsOverSPDY(t *testing.T) {
	secret := listen(t)
	s := front(t, forwarding(4321))
	header := func(kind string, port ...string) http.Header {
		return http.Header{"Streamtype": {kind}, "Port": port, "Requestid": {"0"}}
	}
	for name, build := range map[string]func(*script){
		"the port":                       func(s *script) { s.pair(header("error", secret.port), header("data", secret.port)) },
		"another one first":              func(s *script) { s.pair(header("error", "4321"), header("data", secret.port)) },
		"another one for the data alone": func(s *script) { s.pair(header("error", secret.port), header("data", "4321")) },
		"two values":                     func(s *script) { s.pair(header("error", "4321", secret.port), header("data", "4321", secret.port)) },
		"a zero before it":               func(s *script) { s.pair(header("error", "0"+secret.port), header("data", "0"+secret.port)) },
		"a sign before it":               func(s *script) { s.pair(header("error", "+"+secret.port), header("data", "+"+secret.port)) },
		"a space before it":              func(s *script) { s.pair(header("error", " "+secret.port), header("data", " "+secret.port)) },
		"a name":                         func(s *script) { s.pair(header("error", "http"), header("data", "http")) },
		"a port beyond all":              func(s *script) { s.pair(header("error", "69857"), header("data", "69857")) },
		"no errors":                      func(s *script) { s.frame(&spdy.SynStreamFrame{StreamId: 1, Headers: header("data", secret.port)}) },
		"an exec in it":                  func(s *script) { s.open(1, "error").open(3, "stdin").open(5, "stdout") },
	} {
		t.Run(name, func(t *testing.T) {
			script := newScript(t)
			build(script)
			script.data(3, "EVIL").data(1, "EVIL")
			client := dial(t, s.Address(), s.CAPEM())
			client.send(t, spdyRequest("portforward.k8s.io", "/api/v1/namespaces/shop/pods/solo/portforward"))
			if code, body := client.answer(); code != http.StatusSwitchingProtocols {
				t.Fatalf("the upgrade was answered with %d: %s", code, body)
			}
			if _, err := client.Write(script.wire.Bytes()); err != nil {
				t.Fatal(err)
			}
			_ = client.CloseWrite()
			_ = streamsOf(client)
			if n := secret.connections(); n != 0 {
				t.Errorf("the port had %d connections", n)
			}
		})
	}
	t.Run("where a rule allows it, it is reached", func(t *testing.T) {
		number, err := strconv.ParseUint(secret.port, 10, 16)
		if err != nil {
			t.Fatal(err)
		}
		s := front(t, forwarding(uint16(number)))
		client := dial(t, s.Address(), s.CAPEM())
		client.send(t, spdyRequest("portforward.k8s.io", "/api/v1/namespaces/shop/pods/solo/portforward"))
		if code, body := client.answer(); code != http.StatusSwitchingProtocols {
			t.Fatalf("the upgrade was answered with %d: %s", code, body)
		}
		script := newScript(t).pair(header("error", secret.port), header("data", secret.port))
		if _, err := client.Write(script.wire.Bytes()); err != nil {
			t.Fatal(err)
		}
		for begin := time.Now(); secret.connections() == 0; time.Sleep(10 * time.Millisecond) {
			if time.Since(begin) > patience {
				t.Fatal("no connection came")
			}
		}
	})
}

// pair opens the two streams of a connection to a port.
func (s *script) pair(errs, data http.Header) *script {
	return s.frame(&spdy.SynStreamFrame{StreamId: 1, CFHeader: spdy.ControlFrameHeader{Flags: spdy.ControlFlagFin}, Headers: errs}).
		frame(&spdy.SynStreamFrame{StreamId: 3, Headers: data})
}
