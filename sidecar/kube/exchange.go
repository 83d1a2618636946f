package kube

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/chaperone-dev/chaperone/sidecar/kube/request"
	"github.com/chaperone-dev/chaperone/sidecar/kube/secret"
	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/record"
)

// exchange is one request of an agent and its answer.
type exchange struct {
	*connection
	w      http.ResponseWriter
	r      *http.Request
	number uint64
	rules  *rules
	// request is nil for one that could not be read.
	request *request.Request
	// commands are what is judged: one, or for an exec one for each simple command.
	commands []policy.Command
	// body is what the agent sends, where it is kept: what is approved must be what is sent.
	body []byte
	kept bool
	// text is the request as people read it, and digest over what will run.
	text   string
	length int
	digest string
	// verdict is what the rules said.
	verdict policy.Verdict
	// aborted says that the agent gets no answer, or half of one, which it must not take for the whole.
	aborted bool
}

// commandNumbers counts a connection's commands.
type commandNumbers struct{ last atomic.Uint64 }

func (n *commandNumbers) next() uint64 { return n.last.Add(1) }

// maxBody bounds a body that is kept: the API server takes no more than this
// (k8s.io/apiserver, MaxRequestBodyBytes).
const maxBody = 3 << 20

// handle answers one request.
func (c *connection) handle(w http.ResponseWriter, r *http.Request) {
	c.handling.Add(1)
	defer c.handling.Done()
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(c.opts.WriteTimeout))
	x := &exchange{connection: c, w: w, r: r}
	defer func() {
		if x.aborted {
			panic(http.ErrAbortHandler)
		}
	}()
	if refused := x.prepare(); refused != nil {
		x.refuse(refused)
		return
	}
	granted, end, refused := x.gate()
	if refused != nil {
		x.refuse(refused)
		return
	}
	defer end()
	if x.request.Exec != nil || x.request.Forward {
		x.upgrade(granted)
		return
	}
	x.forward(granted)
}

// refuse answers in the API server's place.
func (x *exchange) refuse(refused *refusal) {
	if errors.Is(refused, errGone) {
		x.aborted = true
		return
	}
	var k *policy.KubernetesRequest
	if x.request != nil {
		k = &x.request.Kubernetes
	}
	_ = http.NewResponseController(x.w).SetWriteDeadline(time.Now().Add(x.opts.WriteTimeout))
	// What is left of the body is not waited for.
	x.w.Header().Set("Connection", "close")
	refused.write(x.w, k)
}

// errGone is the refusal that nobody is there to read.
var errGone = &refusal{code: http.StatusServiceUnavailable, message: "the agent hung up"}

// prepare reads the request and says what is to be judged.
func (x *exchange) prepare() *refusal {
	d := x.session.Rules()
	switch {
	case d == nil:
		return &refusal{code: http.StatusForbidden, reason: "Forbidden", message: "no policy of this pod has a target for this API server; refused by Chaperone"}
	case d.Conflict() != "" || d.Kubernetes() == nil:
		return &refusal{code: http.StatusForbidden, reason: "Forbidden", message: fmt.Sprintf(
			"requests to target %s are refused by Chaperone: %s. Whoever owns the policies has to make them agree.", d.Name(), d.Conflict())}
	}
	if x.rules = x.compiled.of(d); x.rules.unmasked != nil {
		return &refusal{code: http.StatusForbidden, reason: "Forbidden", message: fmt.Sprintf(
			"requests to target %s are refused by Chaperone: %s. Whoever owns the policy has to mend it.", d.Name(), x.rules.unmasked)}
	}
	if err := x.greet(); err != nil {
		return unrecorded(err)
	}
	x.number = x.connection.commands.next()
	var err error
	if x.request, err = request.Parse(x.r.Method, x.r.RequestURI); err != nil {
		return x.unreadable(err)
	}
	if err := x.protocol(); err != nil {
		return x.unreadable(err)
	}
	x.describe()
	return nil
}

// greet records the connection with its first request, which says whose it is.
func (x *exchange) greet() error {
	if x.greeted {
		return nil
	}
	x.greeted = true
	client, _ := x.rules.detectors.Text(x.r.UserAgent(), 256)
	return x.session.Recorder.Record(record.Event{
		Kind: record.KindConnect, Protocol: string(policy.ProtocolKubernetes), Peer: x.session.Original.String(),
		User: x.account.user(x.rules), Client: client,
	})
}

// protocol refuses what of HTTP the API has no use for, and upgrades of what is not upgraded.
func (x *exchange) protocol() error {
	streams := x.request.Exec != nil || x.request.Forward
	switch {
	case impersonates(x.r.Header) && !x.request.Kubernetes.Discovery: // kubectl would not print what discovery is told
		return errImpersonates
	case x.r.ProtoMajor != 1 || x.r.ProtoMinor != 1 && upgrades(x.r.Header):
		return fmt.Errorf("%s; only HTTP/1.1 is spoken here", x.r.Proto)
	case upgrades(x.r.Header) && !streams:
		return errors.New("it asks for an upgrade, which only exec, attach and port-forward of pods have here")
	case !upgrades(x.r.Header) && streams:
		return fmt.Errorf("%s of a pod without an upgrade to SPDY or WebSocket", x.request.Kubernetes.Subresource)
	}
	for _, encoding := range x.r.Header["Content-Encoding"] {
		if encoding != "" && encoding != "identity" {
			return errors.New("a body with a Content-Encoding, which the API server does not read")
		}
	}
	return nil
}

// unreadable refuses and records a request that could be read in two ways, or in none.
func (x *exchange) unreadable(err error) *refusal {
	text := x.r.Method + " " + x.r.RequestURI
	v := x.rules.Decide(policy.Command{Protocol: policy.ProtocolKubernetes, Text: text, Unrecognised: err.Error()})
	if v.Action != policy.Deny {
		// An Audit policy would let it through; there is nothing to let through.
		v.Action = policy.Deny
	}
	v.Message = "the request was not understood: " + err.Error()
	x.text, x.length = x.rules.detectors.Text(text, maxRecorded)
	x.request = nil
	_ = x.recordCommand(v)
	x.flush(true)
	r := misread(v, err)
	switch {
	case errors.Is(err, request.ErrMethod):
		r.code, r.reason = http.StatusMethodNotAllowed, "MethodNotAllowed"
	case errors.Is(err, errImpersonates):
		r.code, r.reason = http.StatusForbidden, "Forbidden"
	}
	return r
}

// readBody keeps the agent's body.
func (x *exchange) readBody() *refusal {
	if x.kept {
		return nil
	}
	body, err := io.ReadAll(http.MaxBytesReader(x.w, x.r.Body, maxBody))
	var long *http.MaxBytesError
	switch {
	case errors.As(err, &long):
		return &refusal{code: http.StatusRequestEntityTooLarge, reason: "RequestEntityTooLarge",
			message: fmt.Sprintf("the request's body is longer than %d bytes, which the API server does not take", maxBody)}
	case err != nil:
		return &refusal{code: http.StatusBadRequest, reason: "BadRequest", message: "the request's body broke off"}
	}
	x.body, x.kept = body, true
	x.digest = x.sum()
	return nil
}

// sum is the digest over all of what the API server will act on.
func (x *exchange) sum() string {
	h := sha256.New()
	verb := x.request.Method
	if x.request.Exec != nil || x.request.Forward {
		verb = x.request.Kubernetes.Subresource // the same over either transport
	}
	fmt.Fprintf(h, "%s\n%q\n%q\n%d\n", verb, x.request.Target(), x.r.Header.Get("Content-Type"), len(x.body))
	h.Write(x.body)
	return hex.EncodeToString(h.Sum(nil))
}

// isSecret tells whether the request is for Secrets, whose values stay here.
func (x *exchange) isSecret() bool {
	k := &x.request.Kubernetes
	return k.Group == "" && k.Resource == "secrets"
}

// checkWrite refuses to write back what was masked, and to take values to where they are not.
func (x *exchange) checkWrite() *refusal {
	k := &x.request.Kubernetes
	if !x.isSecret() || k.ReadOnly {
		return nil
	}
	if refused := x.readBody(); refused != nil {
		return refused
	}
	if secret.Reveals(x.body) {
		return &refusal{code: http.StatusForbidden, reason: "Forbidden", message: "the patch copies, moves or compares what a Secret holds, which Chaperone keeps from agents. Nothing was changed. Set the values that are to change (op add or replace, or a merge patch)."}
	}
	if !secret.Holds(x.body) {
		return nil
	}
	return &refusal{code: http.StatusForbidden, reason: "Forbidden", message: fmt.Sprintf(
		"the Secret in the request holds %q, which stands where Chaperone masked a value: writing it would destroy the value. Nothing was changed. Leave the keys out that are not to change (kubectl patch).", secret.Text)}
}

// bodyReader is what is sent upstream.
func (x *exchange) bodyReader() (io.ReadCloser, int64) {
	if x.kept {
		if len(x.body) == 0 {
			return http.NoBody, 0
		}
		return io.NopCloser(bytes.NewReader(x.body)), int64(len(x.body))
	}
	if x.r.ContentLength == 0 {
		return http.NoBody, 0
	}
	return x.r.Body, x.r.ContentLength
}

// flush waits until the operator has what was recorded. A refused agent does not wait long for its answer while the
// operator is away.
func (x *exchange) flush(refusing bool) error {
	limit := x.opts.FlushTimeout
	if refusing {
		limit = min(limit, refusalFlush)
	}
	ctx, cancel := context.WithTimeout(x.r.Context(), limit)
	defer cancel()
	return x.session.Recorder.Flush(ctx)
}
