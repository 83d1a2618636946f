package wire

import (
	"slices"
	"testing"

	"github.com/jackc/pgproto3/v2"

	"github.com/chaperone-dev/chaperone/sidecar/record"
)

func TestResultsThatArePutOffAreRecordedInOrder(t *testing.T) {
	idle := &pgproto3.ReadyForQuery{TxStatus: 'I'}
	answer := encode(&pgproto3.CommandComplete{CommandTag: []byte("SELECT 0")}, idle)
	ask := encode(&pgproto3.Query{String: "SELECT 1"})
	for name, test := range map[string]struct {
		then func(c *Core)
		want []record.Kind
	}{
		"nothing is recorded before it is asked for": {func(*Core) {}, nil},
		"when it is asked for":                       {(*Core).RecordResults, []record.Kind{record.KindResult}},
		"before the next command":                    {func(c *Core) { c.Agent(ask) }, []record.Kind{record.KindResult, record.KindCommand}},
		"when the session ends":                      {func(c *Core) { c.Close(nil) }, []record.Kind{record.KindResult}},
		"and are not put off any more then": {func(c *Core) {
			c.RecordResults()
			c.Agent(ask)
			_ = c.Server(answer)
		}, []record.Kind{record.KindResult, record.KindCommand, record.KindResult}},
	} {
		t.Run(name, func(t *testing.T) {
			c, _ := newCore(t, strict(t))
			var kinds []record.Kind
			c.Agent(ask)
			c.cfg.Record = func(e record.Event) error {
				kinds = append(kinds, e.Kind)
				return nil
			}
			c.ResultsLater()
			if err := c.Server(answer); err != nil {
				t.Fatal(err)
			}
			if out, _ := c.ToAgent(nil); len(out) != len(answer) {
				t.Fatalf("%d bytes for the agent, want %d", len(out), len(answer))
			}
			test.then(c)
			if !slices.Equal(kinds, test.want) {
				t.Errorf("recorded %v, want %v", kinds, test.want)
			}
		})
	}
}

func TestNoMoreResultsArePutOffThanAreBounded(t *testing.T) {
	c, _ := newCore(t, strict(t))
	var commands []uint64
	var all []byte
	for range 2 * maxLater {
		c.Agent(encode(&pgproto3.Query{String: "SELECT 1"}))
		all = append(all, encode(&pgproto3.CommandComplete{CommandTag: []byte("SELECT 0")}, &pgproto3.ReadyForQuery{TxStatus: 'I'})...)
	}
	c.cfg.Record = func(e record.Event) error {
		commands = append(commands, e.Command)
		return nil
	}
	c.ResultsLater()
	if err := c.Server(all); err != nil {
		t.Fatal(err)
	}
	c.RecordResults()
	if len(commands) != 2*maxLater || !slices.IsSorted(commands) {
		t.Errorf("recorded the results of %v", commands)
	}
}
