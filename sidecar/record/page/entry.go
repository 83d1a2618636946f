package page

import (
	"encoding/json"
	"fmt"
	"html/template"
	"strconv"
	"strings"
	"time"

	"github.com/chaperone-dev/chaperone/sidecar/record"
)

// entry is one row of the timeline: a command with all that followed from it, or something that happened beside.
type entry struct {
	Time, Number string
	Seconds      string // since the start, for the player
	Kind         kind
	Text         string // of a command, its lines
	Long         string // of a command that was cut, how long it is
	Lines        []line
	Output       []output
	Cut          bool
	began        float64
}

// kind is what a row is filtered by. Mark and Word say it without colour.
type kind struct{ Class, Mark, Word string }

var (
	allowed  = kind{"allow", "✓", "allowed"}
	denied   = kind{"deny", "✕", "denied"}
	asked    = kind{"ask", "◷", "needs approval"}
	approved = kind{"approved", "✓✓", "approved"}
	audited  = kind{"audit", "!", "audit only"}
	lost     = kind{"lost", "⚠", "not recorded"}
	event    = kind{"event", "·", "connection"}
	streamed = kind{"stream", "›", "output"}
)

// line is a sentence below a command.
type line struct{ Class, Text string }

// output is what a stream carried.
type output struct {
	Stream string
	Text   string
	Open   bool
}

// shortOutput is shown at once; what is longer, on demand.
const shortOutput = 600

func newEntry(start time.Time, e *record.Event) *entry {
	n := &entry{
		Time:    start.Add(time.Duration(e.Time * float64(time.Second))).UTC().Format("15:04:05.000"),
		Seconds: strconv.FormatFloat(e.Time, 'f', 3, 64), Kind: event, began: e.Time,
	}
	if e.Connection > 0 {
		n.Number = strconv.FormatUint(uint64(e.Connection), 10)
		if e.Command > 0 {
			n.Number += "." + strconv.FormatUint(e.Command, 10)
		}
	}
	switch e.Kind {
	case record.KindCommand:
		n.command(e)
	case record.KindOutput, record.KindInput:
		n.Kind = streamed
		n.stream(e)
	case record.KindLost:
		n.Kind = lost
		n.say("", record.Sentence(e))
	default:
		n.say("", record.Sentence(e))
	}
	return n
}

func (n *entry) command(e *record.Event) {
	n.Text = strings.Join(record.PrintableLines(e.Text), "\n")
	if e.TextLength > len(e.Text) {
		n.Long = fmt.Sprintf("%d bytes in all, sha256 %s", e.TextLength, show(e.Digest))
	}
	switch e.Verdict {
	case "Deny":
		n.Kind = denied
	case "RequireApproval":
		n.Kind = asked
	default:
		n.Kind = allowed
		if e.Audited != "" {
			n.Kind = audited
		}
	}
	n.say(n.Kind.Class, record.Sentence(e))
}

// follow adds what came of a command.
func (n *entry) follow(e *record.Event) {
	switch e.Kind {
	case record.KindOutput, record.KindInput:
		n.stream(e)
		return
	case record.KindApproval:
		switch e.Decision {
		case "Approved":
			n.Kind = approved
		case "Denied", "Expired":
			n.Kind = denied
		}
		n.say(n.Kind.Class, record.Sentence(e)+n.after(e, "; it waited "))
		n.began = e.Time // what it took from there on is the command's own time
	case record.KindResult:
		class := "result"
		if e.Error != "" || e.SQLSTATE != "" {
			class = "failed"
		}
		n.say(class, record.Sentence(e)+n.after(e, ", took "))
	}
}

func (n *entry) after(e *record.Event, words string) string {
	d := time.Duration((e.Time - n.began) * float64(time.Second))
	if d <= 0 || e.Decision == "Pending" {
		return ""
	}
	return words + record.Rounded(d)
}

func (n *entry) say(class, text string) {
	if text != "" {
		n.Lines = append(n.Lines, line{class, text})
	}
}

// stream adds to the last piece of the same stream.
func (n *entry) stream(e *record.Event) {
	text := strings.Join(record.PrintableLines(e.Data), "\n")
	if last := len(n.Output) - 1; last >= 0 && n.Output[last].Stream == show(e.Stream) {
		n.Output[last].Text += "\n" + text
		n.Output[last].Open = len(n.Output[last].Text) <= shortOutput
		return
	}
	n.Output = append(n.Output, output{show(e.Stream), text, len(text) <= shortOutput})
}

// kindsOf are the kinds that occur, in the order of a legend.
func kindsOf(entries []*entry) (out []kind) {
	seen := map[kind]bool{}
	for _, n := range entries {
		seen[n.Kind] = true
	}
	for _, k := range []kind{allowed, approved, asked, denied, audited, lost, streamed, event} {
		if seen[k] {
			out = append(out, k)
		}
	}
	return out
}

// state is how far the log can be trusted.
type state struct{ Class, Mark, Word string }

func stateOf(v record.Verification) state {
	signed := v.KeyID != ""
	switch {
	case v.State == record.Broken:
		return state{"bad", "✕", "BROKEN: does not verify"}
	case v.State == record.Lost:
		return state{"bad", "✕", "LOST"}
	case v.State == record.Truncated:
		return state{"warn", "⚠", "TRUNCATED: the end is missing"}
	case !signed:
		return state{"warn", "⚠", "NOT SIGNED"}
	case v.State == record.Recording:
		return state{"good", "●", "still recording, verified and signed so far"}
	}
	return state{"good", "✓", "complete, verified and signed"}
}

// total is one of the log's counts.
type total struct {
	Count int64
	Word  string
	Class string
}

func totals(c record.Counts) []total {
	return []total{
		{c.Connections, plural(c.Connections, "connection"), ""}, {c.Commands, plural(c.Commands, "command"), ""},
		{c.Denied, "denied", "deny"}, {c.Approved, "approved", "approved"},
		{c.Rows, plural(c.Rows, "row"), ""}, {c.Bytes, plural(c.Bytes, "byte"), ""}, {c.Masked, "masked", ""},
	}
}

func plural(n int64, one string) string {
	if n == 1 {
		return one
	}
	return one + "s"
}

// show makes a text printable: no character in it acts, hides or turns the direction of others. The template escapes
// it for HTML.
func show(s string) string { return record.Printable(s) }

// data is a text as JSON for a script element that only holds data; encoding/json escapes < > and &, so that nothing
// in it ends the element.
func data(s string) template.JS {
	text, err := json.Marshal(s)
	if err != nil {
		return "null"
	}
	return template.JS(text) //nolint:gosec // JSON without < > &
}
