package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/policy/when/wire"
)

func TestServe(t *testing.T) {
	command := &policy.Command{Protocol: policy.ProtocolPostgres, Text: "select 1", SQL: &policy.SQL{Command: "SELECT"}}
	yes, no := true, false
	tests := []struct {
		name, expression string
		command          *policy.Command
		want             wire.Answer
	}{
		{"an expression that is right", `command.name == "SELECT"`, nil, wire.Answer{}},
		{"one that is wrong", `command.nme == "SELECT"`, nil, wire.Answer{Error: "command.nme: a postgres command has only"}},
		{"one that holds", `command.name == "SELECT"`, command, wire.Answer{Matched: &yes}},
		{"one that does not", `command.name == "DELETE"`, command, wire.Answer{Matched: &no}},
		{"one that cannot be evaluated", `command.tables[0] == "a"`, command, wire.Answer{Error: "index out of bounds: 0"}},
		{"one that is wrong and was never compiled", `command`, command, wire.Answer{Error: "not bool"}},
		{"one whose error is long", strings.Repeat("x", 50000), nil, wire.Answer{Error: "undeclared reference"}},
	}
	var in, out bytes.Buffer
	for i, tc := range tests {
		frame, err := wire.Frame(wire.Request{Number: uint64(i), Protocol: policy.ProtocolPostgres, Expression: tc.expression, Command: tc.command}, wire.MaxRequest)
		if err != nil {
			t.Fatal(err)
		}
		in.Write(frame)
	}
	e := evaluator{conditions: map[key]policy.Condition{}}
	if err := e.serve(&in, &out); err != nil {
		t.Fatal(err)
	}
	for i, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			var got wire.Answer
			if err := wire.Read(&out, wire.MaxAnswer, &got); err != nil {
				t.Fatal(err)
			}
			switch {
			case got.Number != uint64(i):
				t.Errorf("the answer to %d is to %d", i, got.Number)
			case (got.Error == "") != (tc.want.Error == "") || !strings.Contains(got.Error, tc.want.Error):
				t.Errorf("error %q, want %q", got.Error, tc.want.Error)
			case (got.Matched == nil) != (tc.want.Matched == nil) || got.Matched != nil && *got.Matched != *tc.want.Matched:
				t.Errorf("got %+v, want %+v", got, tc.want)
			}
		})
	}
}

func TestBytesThatAreNoRequestEndIt(t *testing.T) {
	e := evaluator{conditions: map[key]policy.Condition{}}
	if err := e.serve(strings.NewReader("\xff\xff\xff\xffx"), &bytes.Buffer{}); err == nil {
		t.Error("it took 4 GiB for a request")
	}
}

func TestConditionsOfReplacedPoliciesAreForgotten(t *testing.T) {
	e := evaluator{conditions: map[key]policy.Condition{}}
	for i := range 3 * maxConditions {
		if _, err := e.condition(key{policy.ProtocolPostgres, fmt.Sprintf("command.name == '%d'", i)}); err != nil {
			t.Fatal(err)
		}
		if len(e.conditions) > maxConditions {
			t.Fatalf("%d conditions are kept", len(e.conditions))
		}
	}
}
