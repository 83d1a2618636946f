package command

import (
	"io"
	"os"

	"golang.org/x/term"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
)

// style is how a word is shown: an SGR sequence (ECMA-48 8.3.117), where the output is a terminal.
type style string

const (
	plain  style = ""
	bold   style = "1"
	faint  style = "2"
	red    style = "1;31"
	green  style = "32"
	yellow style = "1;33"
	cyan   style = "36"
)

// painter paints; the zero value leaves everything as it is.
type painter struct{ on bool }

func (p painter) paint(s style, text string) string {
	if !p.on || s == plain || text == "" {
		return text
	}
	return "\x1b[" + string(s) + "m" + text + "\x1b[0m"
}

// painterFor paints on a terminal, unless NO_COLOR is set to anything (no-color.org) or the terminal is a dumb one.
func painterFor(w io.Writer, getenv func(string) string) painter {
	return painter{on: isTerminal(w) && getenv("NO_COLOR") == "" && getenv("TERM") != "dumb"}
}

func isTerminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// phaseStyles are for words that say where something stands; each says the same without colour.
var phaseStyles = map[string]style{
	string(v1alpha1.PhasePending): yellow, string(v1alpha1.PhaseApproved): green, string(v1alpha1.PhaseDenied): red,
	string(v1alpha1.PhaseExpired): faint, string(v1alpha1.PhaseUsed): faint,
	string(v1alpha1.RecordingRecording): cyan, string(v1alpha1.RecordingComplete): green,
	string(v1alpha1.RecordingTruncated): red, string(v1alpha1.RecordingLost): red,
	"Allow": green, "Deny": red, "RequireApproval": yellow, "ok": green, "FAIL": red,
	"True": green, "False": red, "yes": green, "NO": red,
}
