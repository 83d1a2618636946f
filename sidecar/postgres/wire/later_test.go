package wire

import (
	"bytes"
	"errors"
	"reflect"
	"slices"
	"strconv"
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
		"when it is asked for":                       {(*Core).RecordNow, []record.Kind{record.KindResult}},
		"before the next command":                    {func(c *Core) { c.Agent(ask) }, []record.Kind{record.KindResult, record.KindCommand}},
		"when the session ends":                      {func(c *Core) { c.Close(nil) }, []record.Kind{record.KindResult}},
		"and are not put off any more then": {func(c *Core) {
			c.RecordNow()
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
			c.RecordLater()
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
	c.RecordLater()
	if err := c.Server(all); err != nil {
		t.Fatal(err)
	}
	c.RecordNow()
	if len(commands) != 2*maxLater || !slices.IsSorted(commands) {
		t.Errorf("recorded the results of %v", commands)
	}
}

// playLater is play by a driver that has commands recorded when they have been sent on, and that uses its buffer again.
func playLater(t testing.TB, c *Core, turns []turn, size int) (agent, server []byte) {
	t.Helper()
	send, settle := ends(c, &agent, &server)
	buf := make([]byte, 1<<20)
	take := func(p []byte, side func([]byte)) {
		for len(p) > 0 {
			n := copy(buf, p[:min(size, len(p))])
			p = p[n:]
			c.RecordLater()
			side(buf[:n])
			send()
			c.RecordNow()
			for i := range buf[:n] {
				buf[i] = '!'
			}
			settle()
		}
	}
	for _, turn := range turns {
		take(turn.agent, c.Agent)
		take(turn.server, func(p []byte) {
			if err := c.Server(p); err != nil {
				t.Fatalf("server: %v", err)
			}
		})
	}
	return agent, server
}

func TestWhatIsRecordedLaterIsTheSame(t *testing.T) {
	idle := &pgproto3.ReadyForQuery{TxStatus: 'I'}
	bound := func(portal, value string) *pgproto3.Bind {
		return &pgproto3.Bind{DestinationPortal: portal, PreparedStatement: "s", Parameters: [][]byte{[]byte(value)}}
	}
	done := &pgproto3.CommandComplete{CommandTag: []byte("SELECT 0")}
	turns := conversation()
	turns = append(turns[:len(turns)-1], // not yet Terminate
		turn{agent: encode(bound("a", "2"), bound("b", "4111 1111 1111 1111"), &pgproto3.Flush{})},
		turn{server: encode(&pgproto3.BindComplete{}, &pgproto3.BindComplete{})},
		turn{agent: encode(&pgproto3.Execute{Portal: "b"}, &pgproto3.Execute{Portal: "a"}, &pgproto3.Sync{})},
		turn{server: encode(done, done, idle)},
		turn{agent: encode(&pgproto3.Query{String: "BEGIN"})},
		turn{server: encode(&pgproto3.CommandComplete{CommandTag: []byte("BEGIN")}, &pgproto3.ReadyForQuery{TxStatus: 'T'})},
		turn{agent: encode(&pgproto3.Query{String: "SET search_path TO other"})},
	)
	var many []byte
	for i := range 2 * maxLater {
		many = append(many, encode(bound("", strconv.Itoa(10+i)), &pgproto3.Execute{})...)
	}
	turns = append([]turn{
		{agent: encode(&pgproto3.Parse{Name: "s", Query: "SELECT id, card FROM customers WHERE id = $1"}, &pgproto3.Describe{ObjectType: 'S', Name: "s"}, &pgproto3.Sync{})},
		turns[3],
		{agent: append(many, encode(&pgproto3.Close{ObjectType: 'S', Name: "s"}, &pgproto3.Sync{})...)},
		{server: append(bytes.Repeat(encode(&pgproto3.BindComplete{}, done), 2*maxLater), encode(&pgproto3.CloseComplete{}, idle)...)},
	}, turns...)
	rules := strict(t)
	now, want := newCore(t, rules)
	agent, server := play(t, now, turns, 1<<20)
	for name, ready := range map[string]func(n int) bool{
		"with room":                 func(int) bool { return true },
		"without room":              func(int) bool { return false },
		"with room now and then":    func(n int) bool { return n%3 != 0 },
		"with room from time on":    func(n int) bool { return n > 20 },
		"without room from time on": func(n int) bool { return n < 20 },
	} {
		t.Run(name, func(t *testing.T) {
			for _, size := range []int{1, 7, 50, 64, 97, 1000, 1 << 20} {
				c, events := newCore(t, rules)
				asked := 0
				c.cfg.Ready = func(events int) bool {
					if events != len(c.deferred)+1 {
						t.Fatalf("room for %d events was asked for, where %d wait", events, len(c.deferred))
					}
					asked++
					return ready(asked)
				}
				c.cfg.Keep = func(e record.Event) { *events = append(*events, e) }
				a, s := playLater(t, c, turns, size)
				if !bytes.Equal(a, agent) || !bytes.Equal(s, server) {
					t.Fatalf("in pieces of %d:\nto the agent %q\nwant         %q\nto the server %q\nwant          %q", size, a, agent, s, server)
				}
				if asked == 0 {
					t.Fatal("no room was asked for")
				}
				if !reflect.DeepEqual(*events, *want) {
					t.Fatalf("in pieces of %d: recorded\n%+v\nwant\n%+v", size, *events, *want)
				}
			}
		})
	}
}

func TestACommandIsRecordedBeforeItIsSentOnWhereThereIsNoRoomForIt(t *testing.T) {
	c, _ := newCore(t, strict(t))
	c.cfg.Ready = func(int) bool { return false }
	c.cfg.Record = func(record.Event) error { return errors.New("the spool is full") }
	c.RecordLater()
	c.Agent(encode(&pgproto3.Query{String: "SELECT 1"}))
	if out, _ := c.ToServer(nil); len(out) > 0 {
		t.Errorf("the server got %q", out)
	}
	if out, _ := c.ToAgent(nil); !bytes.Contains(out, []byte("the spool is full")) {
		t.Errorf("the agent got %q", out)
	}
}

func TestACommandIsRecordedWhenItHasBeenSentOn(t *testing.T) {
	c, events := newCore(t, strict(t))
	c.cfg.Ready = func(int) bool { return true }
	c.cfg.Keep = func(e record.Event) { *events = append(*events, e) }
	c.RecordLater()
	ask := encode(&pgproto3.Query{String: "SELECT 1"})
	c.Agent(ask)
	if out, _ := c.ToServer(nil); !bytes.Equal(out, ask) || len(*events) != 0 {
		t.Fatalf("the server got %q, recorded is %v", out, *events)
	}
	c.RecordNow()
	if len(*events) != 1 || (*events)[0].Text != "SELECT 1" || (*events)[0].Digest == "" {
		t.Errorf("recorded is %+v", *events)
	}
}
