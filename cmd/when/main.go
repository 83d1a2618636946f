// Command when evaluates the conditions of rules for the sidecar, which starts it at the first policy that has one
// and says on its standard input what to evaluate. It is a program of its own because CEL would make every sidecar
// larger by a quarter, used or not.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/policy/cel"
	"github.com/chaperone-dev/chaperone/sidecar/policy/when/wire"
)

// maxConditions is how many compiled expressions are kept. A pod's policies rarely have more than a few; if they
// do, compiling one again takes less than a millisecond.
const maxConditions = 256

func main() {
	e := evaluator{conditions: map[key]policy.Condition{}}
	if err := e.serve(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "when:", err)
		os.Exit(1)
	}
}

type key struct {
	protocol   policy.Protocol
	expression string
}

type evaluator struct {
	conditions map[key]policy.Condition
}

// serve answers requests until there are no more: the end of its input is the end of the sidecar.
func (e *evaluator) serve(in io.Reader, out io.Writer) error {
	in = bufio.NewReaderSize(in, 16<<10)
	for {
		var request wire.Request
		if err := wire.Read(in, wire.MaxRequest, &request); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		frame, err := wire.Frame(e.answer(request), wire.MaxAnswer)
		if err != nil {
			return err
		}
		if _, err := out.Write(frame); err != nil {
			return fmt.Errorf("answering: %w", err)
		}
	}
}

func (e *evaluator) answer(r wire.Request) wire.Answer {
	a := wire.Answer{Number: r.Number}
	condition, err := e.condition(key{r.Protocol, r.Expression})
	if err == nil && r.Command != nil {
		var matched bool
		if matched, err = condition.Eval(*r.Command); err == nil {
			a.Matched = &matched
		}
	}
	if err != nil {
		a.Error = err.Error()
		if len(a.Error) > wire.MaxError {
			a.Error = strings.ToValidUTF8(a.Error[:wire.MaxError], "") + "…"
		}
	}
	return a
}

// condition compiles what is not known yet. All are forgotten when there are too many: which of them belong to
// policies that are still in force is not known here.
func (e *evaluator) condition(k key) (policy.Condition, error) {
	if c := e.conditions[k]; c != nil {
		return c, nil
	}
	c, err := cel.Compile(k.protocol, k.expression)
	if err != nil {
		return nil, err
	}
	if len(e.conditions) >= maxConditions {
		clear(e.conditions)
	}
	e.conditions[k] = c
	return c, nil
}
