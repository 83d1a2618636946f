package kube

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"sync"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/record"
	"github.com/chaperone-dev/chaperone/sidecar/session"
	"github.com/chaperone-dev/chaperone/sidecar/stream"
)

// program is what an exec or attach is connected to, whichever transport it comes over.
type program struct {
	r        *relay
	terminal session.Recorder // of a terminal, nil where there is none
	sizes    []byte           // of the terminal, not yet read

	mu      sync.Mutex // guards outputs
	outputs map[string]*stream.Output
}

const (
	// maxSize bounds a terminal's size in a recording; no screen has as many characters.
	maxSize = 1000
	// maxStatus bounds how a program's end is told.
	maxStatus = 64 << 10
	// maxResize bounds a message about a terminal's size.
	maxResize = 1 << 10
)

// newProgram begins the recording of a terminal, where there is one.
func (r *relay) newProgram() (*program, error) {
	p := &program{r: r, outputs: make(map[string]*stream.Output)}
	x := r.x
	if !x.request.Exec.TTY {
		return p, nil
	}
	p.terminal = x.session.Terminal()
	client, _ := x.rules.detectors.Text(x.r.UserAgent(), 256)
	for _, e := range []record.Event{
		{Kind: record.KindConnect, Protocol: string(policy.ProtocolKubernetes), Peer: x.session.Original.String(), User: x.account.user(x.rules), Client: client},
		{Kind: record.KindResize, Columns: 80, Lines: 24},
		{Kind: record.KindCommand, Command: 1, Text: x.text, TextLength: x.length, Verdict: string(policy.Allow)},
	} {
		if err := p.terminal.Record(e); err != nil {
			p.finish(err.Error())
			return nil, err
		}
	}
	return p, nil
}

// output says where the program's stream goes.
func (p *program) output(name string, to io.Writer) {
	x := p.r.x
	recorder, number, limit := x.session.Recorder, x.number, int64(stream.MaxRecorded)
	if p.terminal != nil {
		recorder, number, limit = p.terminal, 0, 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.outputs[name] = stream.New(to, x.rules.detectors, recorder, name, number, limit)
}

// out is where the program's stream goes, nil where it has none.
func (p *program) out(name string) *stream.Output {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.outputs[name]
}

// outs are all of them.
func (p *program) outs() []*stream.Output {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Collect(maps.Values(p.outputs))
}

// resize records sizes of the terminal: JSON objects, one behind another (k8s.io/client-go/tools/remotecommand,
// TerminalSize).
func (p *program) resize(piece []byte) {
	if p.terminal == nil {
		return
	}
	p.sizes = append(p.sizes, piece...)
	for {
		var size struct{ Width, Height uint16 }
		d := json.NewDecoder(bytes.NewReader(p.sizes))
		if err := d.Decode(&size); err != nil {
			if len(p.sizes) > maxResize { // nothing that is a size
				p.sizes = nil
			}
			return
		}
		p.sizes = p.sizes[d.InputOffset():]
		_ = p.terminal.Record(record.Event{Kind: record.KindResize, Columns: bounded(size.Width, 80), Lines: bounded(size.Height, 24)})
	}
}

func bounded(n uint16, otherwise int) int {
	if n == 0 {
		return otherwise
	}
	return min(int(n), maxSize)
}

// status takes how the program ended, a metav1.Status or, in older protocols, a text; it returns what the agent may see.
func (p *program) status(message []byte) []byte {
	detectors := p.r.x.rules.detectors
	var status map[string]any
	if err := json.Unmarshal(message, &status); err != nil {
		text, _ := detectors.Text(string(message), maxStatus)
		p.r.result.Error = text
		return []byte(text)
	}
	if status["status"] == "Success" {
		p.r.result.Tag = "exit status 0"
		return message
	}
	text, _ := status["message"].(string)
	masked, _ := detectors.Text(text, maxStatus)
	if code, ok := exitCode(message); ok {
		p.r.result.Tag = "exit status " + strconv.Itoa(code)
	} else {
		p.r.fail(errorText(masked))
	}
	if masked == text {
		return message
	}
	status["message"] = masked
	out, err := json.Marshal(status)
	if err != nil { // it was JSON
		return nil
	}
	return out
}

// errorText is an error in the API server's own words.
type errorText string

func (e errorText) Error() string { return string(e) }

// exitCode is what a Status says about a program that ran.
func exitCode(message []byte) (int, bool) {
	var status struct {
		Reason  string
		Details struct {
			Causes []struct{ Reason, Message string }
		}
	}
	if json.Unmarshal(message, &status) != nil || status.Reason != "NonZeroExitCode" {
		return 0, false
	}
	for _, c := range status.Details.Causes {
		if code, err := strconv.Atoi(c.Message); err == nil && c.Reason == "ExitCode" {
			return code, true
		}
	}
	return 0, false
}

// failureStatus is what the sidecar itself has to say of an end.
func failureStatus(message string) []byte {
	r := &refusal{code: http.StatusForbidden, reason: "Forbidden", message: message + " (ended by Chaperone)"}
	return bytes.TrimSuffix(r.body(nil), []byte("\n"))
}

// drain hands on what was held back.
func (p *program) drain() error {
	for _, o := range p.outs() {
		if err := o.Finish(); err != nil {
			return err
		}
	}
	return nil
}

// finish closes the recording.
func (p *program) finish(failed string) {
	if err := p.drain(); err != nil {
		p.r.fail(err)
	}
	for _, o := range p.outs() {
		shown, masked := o.Counts()
		p.r.result.Bytes += shown
		p.r.result.Masked += int64(masked)
	}
	if p.terminal != nil {
		_ = p.terminal.Record(record.Event{Kind: record.KindDisconnect, Error: failed})
		_ = p.terminal.Close()
	}
}
