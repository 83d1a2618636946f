package record

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Sentence says what an event is, in one line and printable: of a command, what was decided about it.
func Sentence(e *Event) string {
	switch e.Kind {
	case KindConnect:
		return connects(e)
	case KindCommand:
		return verdict(e)
	case KindApproval:
		return approval(e, "")
	case KindResult:
		return result(e, "")
	case KindResize:
		return fmt.Sprintf("the terminal is now %d by %d", e.Columns, e.Lines)
	case KindDisconnect:
		return because("disconnects", e.Error)
	case KindLost:
		return because("NOT RECORDED", e.Error)
	case KindEnd:
		return because("the recording ends", e.Error)
	}
	return Printable(string(e.Kind))
}

func connects(e *Event) string {
	var b strings.Builder
	b.WriteString("connects")
	if e.Peer != "" {
		b.WriteString(" to " + Printable(e.Peer))
	}
	if e.Database != "" {
		b.WriteString(", database " + Printable(e.Database))
	}
	if e.User != "" {
		b.WriteString(", as " + Printable(e.User))
	}
	if e.Client != "" {
		b.WriteString(", calls itself " + strconv.Quote(e.Client))
	}
	return b.String()
}

// statement is what was asked for; of a text that was cut, how long it is.
func statement(e *Event) []string {
	lines := PrintableLines(e.Text)
	if e.TextLength > len(e.Text) {
		lines[len(lines)-1] += fmt.Sprintf(" … (%d bytes in all, sha256 %s)", e.TextLength, Printable(e.Digest))
	}
	return lines
}

// verdict is what was decided, by what, and what an Audit policy would have done.
func verdict(e *Event) string {
	words := map[string]string{"Allow": "allowed", "Deny": "DENIED", "RequireApproval": "NEEDS APPROVAL"}[e.Verdict]
	if words == "" {
		words = Printable(e.Verdict)
	}
	if e.Rule != "" {
		words += ": rule " + Printable(e.Rule)
		if e.Policy != "" {
			words += " of " + Printable(e.Policy)
		}
	}
	if e.Message != "" {
		words += ": " + Printable(e.Message)
	}
	if e.Audited != "" {
		words += " (audit only; enforced it would be " + Printable(e.Audited) + ")"
	}
	return words
}

// approval says what became of a request; since is how long that took, or nothing.
func approval(e *Event, since string) string {
	request := Printable(e.Request)
	by := ""
	if len(e.Deciders) > 0 {
		by = " by " + Printable(strings.Join(e.Deciders, ", "))
	}
	switch e.Decision {
	case "Pending":
		return because("waits for approval "+request, e.Message)
	case "Approved":
		return because("APPROVED"+by+" ("+request+")"+since, e.Message)
	case "Denied":
		return because("DENIED"+by+" ("+request+")"+since, e.Message)
	case "Expired":
		return because("nobody decided in time ("+request+")", e.Message)
	}
	return because("approval "+request+": "+Printable(e.Decision), firstOf(e.Message, e.Error))
}

// result says how a command ended; in is how long it took, or nothing.
func result(e *Event, in string) string {
	words := "done" + in
	if e.Error != "" || e.SQLSTATE != "" {
		words = "FAILED" + in
	}
	var parts []string
	if e.Tag != "" {
		parts = append(parts, Printable(e.Tag))
	}
	if e.Error != "" {
		parts = append(parts, Printable(e.Error))
	}
	if e.SQLSTATE != "" {
		parts = append(parts, "SQLSTATE "+Printable(e.SQLSTATE))
	}
	for _, n := range [...]struct {
		n            int64
		one, several string
	}{{e.Rows, "row", "rows"}, {e.Bytes, "byte", "bytes"}, {e.Masked, "value masked", "values masked"}} {
		if n.n != 0 {
			parts = append(parts, count(n.n, n.one, n.several))
		}
	}
	if len(parts) == 0 {
		return words
	}
	return words + ": " + strings.Join(parts, ", ")
}

func (t *Timeline) since(e *Event) string {
	if d, ok := t.duration(e); ok {
		return " after " + d
	}
	return ""
}

func (t *Timeline) inTime(e *Event) string {
	if d, ok := t.duration(e); ok {
		return " in " + d
	}
	return ""
}

func (t *Timeline) duration(e *Event) (string, bool) {
	began, ok := t.began[command{e.Connection, e.Command}]
	if !ok || e.Time < began {
		return "", false
	}
	return Rounded(time.Duration((e.Time - began) * float64(time.Second))), true
}

// Rounded is a duration as people read one.
func Rounded(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return d.Round(10 * time.Microsecond).String()
	case d < time.Second:
		return d.Round(100 * time.Microsecond).String()
	}
	return d.Round(100 * time.Millisecond).String()
}

func count(n int64, one, several string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.FormatInt(n, 10) + " " + several
}

func firstOf(texts ...string) string {
	for _, s := range texts {
		if s != "" {
			return s
		}
	}
	return ""
}

// String lists the totals.
func (c Counts) String() string {
	return strings.Join([]string{
		count(c.Connections, "connection", "connections"), count(c.Commands, "command", "commands"),
		fmt.Sprintf("%d denied", c.Denied), fmt.Sprintf("%d approved", c.Approved),
		count(c.Rows, "row", "rows"), count(c.Bytes, "byte", "bytes"), count(c.Masked, "value masked", "values masked"),
	}, ", ") + "."
}

// String says in a sentence or two how far a log can be trusted.
func (v Verification) String() string {
	var b strings.Builder
	switch v.Chunks {
	case 0:
		b.WriteString("No chunk verified.")
	case 1:
		b.WriteString("Verified: chunk 0.")
	default:
		fmt.Fprintf(&b, "Verified: chunks 0 to %d, each following from the one before.", v.Chunks-1)
	}
	switch v.State {
	case Complete:
		b.WriteString(" The recording is complete.")
	case Recording:
		b.WriteString(" The recording is still going on.")
	case Truncated:
		b.WriteString(" The recording is TRUNCATED" + because("", v.Problem) + ".")
	case Lost:
		b.WriteString(" The recording is LOST.")
	case Broken:
		b.WriteString(" The recording is BROKEN from there on" + because("", v.Problem) + ".")
	}
	switch {
	case v.Signed == v.Chunks && v.KeyID != "":
		fmt.Fprintf(&b, " Signed by the operator%s.", v.signature())
	case v.KeyID != "":
		fmt.Fprintf(&b, " Signed by the operator up to %d chunks%s.", v.Signed, v.signature())
	case v.State != Truncated && v.State != Broken && v.Problem != "":
		fmt.Fprintf(&b, " Not signed: %s.", Printable(v.Problem))
	default:
		b.WriteString(" Not signed.")
	}
	return b.String()
}

// signature says when and with which key a log was signed.
func (v *Verification) signature() string {
	text := ""
	if !v.SignedAt.IsZero() {
		text = " on " + moment(v.SignedAt)
	}
	text += " (key " + v.KeyID
	if v.Key.ID == "" {
		text += ", as the log itself says"
	}
	if !v.Key.Until.IsZero() {
		text += ", until " + moment(v.Key.Until) + " one of its keys"
	}
	return text + ")"
}
