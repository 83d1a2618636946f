package kube

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/chaperone-dev/chaperone/sidecar/kube/secret"
	"github.com/chaperone-dev/chaperone/sidecar/mask"
	"github.com/chaperone-dev/chaperone/sidecar/record"
	"github.com/chaperone-dev/chaperone/sidecar/session"
)

// forward sends the request upstream and its answer back as it comes.
func (x *exchange) forward(granted *session.Grant) {
	result := record.Event{Kind: record.KindResult, Command: x.number}
	if err := x.roundTrip(granted, &result); err != nil {
		var refused *refusal
		switch {
		case errors.As(err, &refused):
			result.Tag = strconv.Itoa(refused.code)
			x.refuse(refused)
		default:
			x.aborted = true
		}
		if result.Error == "" {
			result.Error = err.Error()
		}
	}
	result.Error, _ = x.rules.detectors.Text(result.Error, maxRecorded)
	_ = x.session.Recorder.Record(result)
}

// roundTrip returns a *refusal where nothing has been sent to the agent yet.
func (x *exchange) roundTrip(granted *session.Grant, result *record.Event) error {
	ctx := context.WithValue(x.r.Context(), dialKey{}, x.session.DialUpstream)
	u, err := x.upstream(ctx)
	if err != nil {
		return unreachable(x.rules.Name(), err)
	}
	response, err := u.pool.transport.RoundTrip(x.outgoing(ctx, u))
	if err != nil {
		if x.r.Context().Err() != nil {
			refused := x.interrupted()
			result.Error = refused.message
			return refused
		}
		return unreachable(x.rules.Name(), err)
	}
	defer response.Body.Close()
	if response.StatusCode == http.StatusUnauthorized {
		x.account.forget()
	}
	result.Tag = strconv.Itoa(response.StatusCode)
	if response.StatusCode < 200 {
		return unreachable(x.rules.Name(), fmt.Errorf("it answered with status %d", response.StatusCode))
	}
	return x.answer(response, granted, result)
}

// outgoing is the request as the sidecar makes it.
func (x *exchange) outgoing(ctx context.Context, u *upstream) *http.Request {
	body, length := x.bodyReader()
	header := requestHeader(x.r.Header, x.request.Kubernetes.Subresource == "proxy")
	u.authorize(header)
	if x.masked() {
		header.Set("Accept", onlyJSON(x.r.Header["Accept"]))
		header.Del("Accept-Encoding")
	}
	query := x.request.Query
	if x.cleaned() {
		header.Del("Accept-Encoding")
		if x.limitBytes() > 0 {
			query = maps.Clone(query)
			query.Del("limitBytes")
		}
	}
	return (&http.Request{
		Method: x.request.Method,
		URL: &url.URL{
			Scheme: "https", Host: u.host + ":" + strconv.Itoa(int(x.rules.Port())),
			Path: unescaped(x.request.Path), RawPath: x.request.Path, RawQuery: query.Encode(),
		},
		Header: header, Body: body, ContentLength: length, Host: u.host,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}).WithContext(ctx)
}

func unescaped(path string) string {
	p, err := url.PathUnescape(path)
	if err != nil { // it was escaped here
		return path
	}
	return p
}

// masked tells whether the answer may hold a Secret's values.
func (x *exchange) masked() bool { return x.isSecret() }

// cleaned tells whether the answer is a container's output, in which detectors look.
func (x *exchange) cleaned() bool {
	k := &x.request.Kubernetes
	return k.Group == "" && k.Resource == "pods" && k.Subresource == "log" && !x.rules.detectors.Empty()
}

// limitBytes is the length that a log is asked for at most; 0 where there is none, or none that the API server takes. Where
// detectors look, the log is cut behind them: a value that is cut in half is none by its form, and shows its half.
func (x *exchange) limitBytes() int64 {
	values := x.request.Query["limitBytes"]
	if len(values) == 0 {
		return 0
	}
	n, err := strconv.ParseInt(values[0], 10, 64)
	if err != nil || n < 0 {
		return 0
	}
	return n
}

// answer passes the API server's answer on.
func (x *exchange) answer(response *http.Response, granted *session.Grant, result *record.Event) error {
	out := &outlet{w: x.w, control: http.NewResponseController(x.w), timeout: x.opts.WriteTimeout}
	var through filter = pass{}
	if x.masked() && x.r.Method != http.MethodHead {
		if !isJSON(response) {
			if response.StatusCode < 300 && response.StatusCode != http.StatusNoContent {
				return unreachable(x.rules.Name(), fmt.Errorf("it answered for a Secret with %q, which cannot be masked", response.Header.Get("Content-Type")))
			}
		} else {
			through = &secretFilter{}
		}
	} else if x.cleaned() {
		through = &streamFilter{stream: mask.NewStream(x.rules.detectors)}
		if response.StatusCode < 300 {
			out.limit = x.limitBytes()
		}
	}
	responseHeader(x.w.Header(), response.Header)
	if _, unchanged := through.(pass); !unchanged {
		x.w.Header().Del("Content-Length")
	} else if response.ContentLength >= 0 && x.r.Method != http.MethodHead {
		x.w.Header().Set("Content-Length", strconv.FormatInt(response.ContentLength, 10))
	}
	if granted != nil {
		// kubectl prints warnings.
		x.w.Header().Add("Warning", fmt.Sprintf(`299 - %q`, "approved by "+strings.Join(granted.Deciders, ", ")+" (request "+granted.Request+")"))
	}
	x.w.WriteHeader(response.StatusCode)
	out.live = response.ContentLength < 0
	if response.StatusCode >= 400 {
		out.keep = maxRecorded
	}
	if x.request.Watch || x.request.Follow {
		_ = out.flush()
	}
	err := copyAll(out, response.Body, through)
	result.Bytes, result.Masked = out.sent, through.hits()
	if out.kept != nil {
		result.Error = statusMessage(out.kept)
	}
	if errors.Is(err, errEnough) {
		return nil
	}
	if err != nil && x.r.Context().Err() != nil && (x.request.Watch || x.request.Follow) {
		return x.farewell(response, out, result)
	}
	return err
}

func isJSON(r *http.Response) bool {
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	return err == nil && media == "application/json" && r.Header.Get("Content-Encoding") == ""
}

// outlet writes to the agent, which has to take it within a time.
type outlet struct {
	mu      sync.Mutex // orders writes with the flushes of a timer
	w       io.Writer
	control *http.ResponseController
	timeout time.Duration
	// live says that what is written is wanted at once.
	live bool
	sent int64
	last byte // of what was sent
	// limit is how much is written at most; 0: all.
	limit int64
	done  bool // nothing more is written
	keep  int
	kept  []byte
}

// errEnough says that as much was written as may be.
var errEnough = errors.New("enough was written")

// write is called with mu held.
func (o *outlet) write(p []byte) error {
	if o.limit > 0 {
		p = p[:min(int64(len(p)), o.limit-o.sent)]
	}
	if len(p) == 0 {
		return nil
	}
	if room := o.keep - len(o.kept); room > 0 {
		o.kept = append(o.kept, p[:min(room, len(p))]...)
	}
	_ = o.control.SetWriteDeadline(time.Now().Add(o.timeout))
	n, err := o.w.Write(p)
	o.sent += int64(n)
	if n > 0 {
		o.last = p[n-1]
	}
	if err == nil && o.limit > 0 && o.sent >= o.limit {
		return errEnough
	}
	return err
}

func (o *outlet) flush() error { return o.control.Flush() }

// filter changes what passes.
type filter interface {
	// write appends to dst what of piece can be passed on.
	write(dst, piece []byte) ([]byte, error)
	// held is how much is held back until drain is called, at the end or when it has been held for long enough.
	held() int
	drain(dst []byte) []byte
	close() error
	hits() int64
}

type pass struct{}

func (pass) write(_, piece []byte) ([]byte, error) { return piece, nil }
func (pass) held() int                             { return 0 }
func (pass) drain(dst []byte) []byte               { return dst }
func (pass) close() error                          { return nil }
func (pass) hits() int64                           { return 0 }

// secretFilter is for answers about Secrets.
type secretFilter struct{ secret.Rewriter }

func (f *secretFilter) write(dst, piece []byte) ([]byte, error) { return f.Write(dst, piece) }
func (f *secretFilter) held() int                               { return 0 }
func (f *secretFilter) drain(dst []byte) []byte                 { return dst }
func (f *secretFilter) close() error                            { return f.Close() }
func (f *secretFilter) hits() int64                             { return f.Values }

// streamFilter is for a container's output.
type streamFilter struct {
	stream *mask.Stream
	found  int64
}

func (f *streamFilter) write(dst, piece []byte) ([]byte, error) {
	out, hits := f.stream.Write(dst, piece)
	f.found += int64(hits)
	return out, nil
}

func (f *streamFilter) held() int { return f.stream.Held() }

func (f *streamFilter) drain(dst []byte) []byte {
	out, hits := f.stream.Flush(dst)
	f.found += int64(hits)
	return out
}

func (f *streamFilter) close() error { return nil }
func (f *streamFilter) hits() int64  { return f.found }

const (
	copyBuffer = 32 << 10
	// longestHold is how long what may become a match is held back (30 ms keeps a terminal lively).
	longestHold = 30 * time.Millisecond
)

var buffers = sync.Pool{New: func() any { b := make([]byte, copyBuffer); return &b }} //nolint:gochecknoglobals // a pool

// copyAll passes a body on, filtered. What has come is flushed whenever no more is there yet.
func copyAll(out *outlet, body io.Reader, through filter) error {
	buffer := buffers.Get().(*[]byte)
	defer buffers.Put(buffer)
	defer func() {
		out.mu.Lock()
		defer out.mu.Unlock()
		out.done = true
	}()
	var scratch []byte
	var timer *time.Timer
	drain := func() {
		out.mu.Lock()
		defer out.mu.Unlock()
		if !out.done && out.write(through.drain(nil)) == nil {
			_ = out.flush()
		}
	}
	for {
		n, err := body.Read(*buffer)
		if n > 0 {
			if werr := func() error {
				out.mu.Lock()
				defer out.mu.Unlock()
				var ferr error
				if scratch, ferr = through.write(scratch[:0], (*buffer)[:n]); ferr != nil {
					return ferr
				}
				if werr := out.write(scratch); werr != nil {
					return werr
				}
				if out.live && n < len(*buffer) {
					return out.flush()
				}
				return nil
			}(); werr != nil {
				return werr
			}
			if through.held() > 0 {
				if timer == nil {
					timer = time.AfterFunc(longestHold, drain)
					defer timer.Stop()
				} else {
					timer.Reset(longestHold)
				}
			}
		}
		if err != nil {
			out.mu.Lock()
			defer out.mu.Unlock()
			if werr := out.write(through.drain(nil)); werr != nil {
				return werr
			}
			if errors.Is(err, io.EOF) {
				return through.close()
			}
			return err
		}
	}
}
