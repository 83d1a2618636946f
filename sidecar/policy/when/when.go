// Package when has the `when` of rules evaluated by a program of its own (cmd/when), so that a sidecar without such
// rules is not larger for the evaluator. The program is started when the first rule needs it. Whatever goes wrong
// with it is an evaluation error, and what could not be evaluated is refused (policy.Condition).
package when

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/policy/when/wire"
)

// How long answers may take. The longest evaluation that CEL's cost limit lets through takes some tenths of a second
// of processor time, and a container whose CPU is limited gets its share in slices of 100 ms (CFS).
const (
	// startLimit is for compiling, and for the first answer of a program that was just started.
	startLimit = 5 * time.Second
	evalLimit  = 2 * time.Second
)

// After a failure the program is started again at the next request, but not before a delay, doubled by each failure
// in a row: what makes it fail is likely to come again.
const (
	firstDelay = 100 * time.Millisecond
	maxDelay   = 10 * time.Second
)

// Evaluator evaluates conditions in a child process. It is safe for concurrent use.
type Evaluator struct {
	program               string
	startLimit, evalLimit time.Duration

	number atomic.Uint64

	exchangeMu sync.Mutex // one request and its answer at a time; guards what follows
	child      *child     // nil where none runs
	fresh      bool       // the child has not answered yet
	failures   int        // in a row
	notBefore  time.Time
	closed     bool
}

// New returns the evaluator that program is. Nothing is started yet.
func New(program string) *Evaluator {
	return &Evaluator{program: program, startLimit: startLimit, evalLimit: evalLimit}
}

// Compile makes a condition of an expression; what `command` holds is written in sidecar/policy/cel. The
// error says what is wrong with the expression. A program that does not work is no such error: policies that may be
// stricter than the last must come in force, and their conditions fail closed until it works.
func (e *Evaluator) Compile(protocol policy.Protocol, expression string) (policy.Condition, error) {
	c := &condition{e, protocol, expression}
	answer, err := e.ask(wire.Request{Protocol: protocol, Expression: expression}, e.startLimit)
	if err == nil && answer.Error != "" {
		return nil, errors.New(answer.Error)
	}
	return c, nil
}

type condition struct {
	evaluator  *Evaluator
	protocol   policy.Protocol
	expression string
}

// Eval implements policy.Condition.
func (c *condition) Eval(cmd policy.Command) (bool, error) {
	answer, err := c.evaluator.ask(wire.Request{Protocol: c.protocol, Expression: c.expression, Command: &cmd}, c.evaluator.evalLimit)
	switch {
	case err != nil:
		return false, err
	case answer.Error != "":
		return false, errors.New(answer.Error)
	}
	return *answer.Matched, nil
}

// ask returns the answer to a request: of one about a command, either Matched or Error is set.
func (e *Evaluator) ask(r wire.Request, within time.Duration) (wire.Answer, error) {
	r.Number = e.number.Add(1)
	frame, err := wire.Frame(r, wire.MaxRequest)
	if err != nil {
		return wire.Answer{}, err
	}
	e.exchangeMu.Lock()
	defer e.exchangeMu.Unlock()
	if err := e.running(); err != nil {
		return wire.Answer{}, err
	}
	if e.fresh {
		within = max(within, e.startLimit)
	}
	answer, err := e.child.exchange(frame, within)
	if err == nil {
		err = fits(r, answer)
	}
	if err != nil {
		err = e.child.fail(err)
		e.child = nil
		e.failed()
		return wire.Answer{}, fmt.Errorf("asking %s: %w", e.program, err)
	}
	e.fresh, e.failures = false, 0
	return answer, nil
}

// fits tells whether an answer can be one to the request.
func fits(r wire.Request, a wire.Answer) error {
	switch {
	case a.Number != r.Number:
		return fmt.Errorf("the answer to request %d is to %d", r.Number, a.Number)
	case a.Matched != nil && (a.Error != "" || r.Command == nil), a.Matched == nil && a.Error == "" && r.Command != nil:
		return errors.New("the answer contradicts itself")
	}
	return nil
}

// running sees to it that there is a child. One that ended while nobody asked is replaced.
func (e *Evaluator) running() error {
	if e.closed {
		return errors.New("the sidecar ends")
	}
	if e.child != nil && e.child.alive() {
		return nil
	}
	if e.child != nil {
		e.child.release()
		e.child = nil
	}
	if wait := time.Until(e.notBefore); wait > 0 {
		return fmt.Errorf("%s does not work; it is started again in %s", e.program, wait.Round(time.Millisecond))
	}
	c, err := start(e.program)
	if err != nil {
		e.failed()
		return fmt.Errorf("starting %s: %w", e.program, err)
	}
	e.child, e.fresh = c, true
	return nil
}

func (e *Evaluator) failed() {
	e.notBefore = time.Now().Add(min(firstDelay<<min(e.failures, 16), maxDelay))
	e.failures++
}

// Close ends the program; every condition is an error from now on.
func (e *Evaluator) Close() {
	e.exchangeMu.Lock()
	defer e.exchangeMu.Unlock()
	e.closed = true
	if e.child != nil {
		e.child.end()
		e.child = nil
	}
}
