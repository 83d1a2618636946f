package wire

import "github.com/chaperone-dev/chaperone/sidecar/session"

// statement is a prepared statement: by Parse, or by SQL's PREPARE.
type statement struct {
	// text is the query string of the Parse, or the PREPARE statement.
	text string
	// bySQL says that the statement is the one inside text's PREPARE.
	bySQL bool
	// declared are the parameter types of the Parse, as sent.
	declared []byte
	// types are the parameter types that the server reported; nil until it did.
	types []uint32
	// described is the result's description, kept so that an Execute without Describe can be masked; nil until
	// the server gave it. The server refuses to run a statement whose result has changed its types since.
	described *description
	// formats are the result formats of the last Bind; portals share them.
	formats []int16
	// judged is the verdict on text, to be used again while it holds.
	judged *judged
	// plan is how the last result was masked, to be used again while it holds.
	plan *plan
	// meaning is what its names have been found to mean.
	meaning
	// segment is where the name got this meaning, while the server has not confirmed it; then 0.
	segment uint64
	// gone marks a Close that the server has not confirmed.
	gone bool
}

// portal is a bound statement, or a cursor.
type portal struct {
	statement *statement
	// formats are the result formats of the Bind, as sent: none, one for all, or one each.
	formats []int16
	// named are what the statement's own names (EXECUTE, FETCH) stand for, by part.
	named []*statement
	// place, digest and values say what it runs with: the values as a person reads them, cut to a bound.
	place  place
	digest string
	values string
	// unread are the values as they stand in the Bind, of which digest and values are still to be made (see later.go).
	unread []byte
	// cursor says that text's DECLARE made it (statement is then the one inside).
	cursor bool
	hold   bool
	// grant is the approval that the portal was bound under, granted for rule.
	grant   *session.Grant
	granted ruleName
	command uint64 // number of the command it runs as; 0 before its first Execute
	// rows and bytes are what came of it in the portions before.
	rows, bytes int64
	// changes is how often the names of its statements had changed their meaning when it was bound.
	changes int
	// describing says that its description has been asked for.
	describing bool
	segment    uint64
	made       uint64 // segment it was made in, confirmed or not
	gone       bool
}

// ruleName is what an approval was given for.
type ruleName struct{ policy, rule string }

// names are the session's prepared statements and portals as the server will have them once it has read all
// that was forwarded. What a segment has changed is undone when the segment fails, and is not relied on by a
// later segment before the server has confirmed it: the server may have skipped it.
type names struct {
	statements map[string]*statement
	portals    map[string]*portal
	added      int
}

func (n *names) init() {
	n.statements = make(map[string]*statement)
	n.portals = make(map[string]*portal)
}

// statement finds a prepared statement for the segment. settled is false where the answer depends on what the
// server has yet to confirm.
func (n *names) statement(name []byte, segment uint64) (s *statement, settled bool) {
	s = n.statements[string(name)]
	if s == nil {
		return nil, true
	}
	if s.segment != 0 && s.segment != segment {
		return nil, false
	}
	if s.gone {
		return nil, true
	}
	return s, true
}

// portal finds a portal for the segment, as statement does.
func (n *names) portal(name []byte, segment uint64) (p *portal, settled bool) {
	p = n.portals[string(name)]
	if p == nil {
		return nil, true
	}
	if p.segment != 0 && p.segment != segment {
		return nil, false
	}
	if p.gone {
		return nil, true
	}
	return p, true
}

// settle confirms what o has changed.
func (n *names) settle(o *owed) {
	switch {
	case o.statement != nil:
		o.statement.segment = 0
		if o.statement.gone && n.statements[o.name] == o.statement {
			delete(n.statements, o.name)
		}
	case o.bound != nil:
		o.bound.segment = 0
		if o.bound.gone && n.portals[o.name] == o.bound {
			delete(n.portals, o.name)
		}
	}
}

// undo restores what o has changed. Changes are undone last first.
func (n *names) undo(o *owed) {
	switch {
	case o.statement != nil:
		if n.statements[o.name] != o.statement {
			return
		}
		if o.wasStmt == nil {
			delete(n.statements, o.name)
		} else {
			n.statements[o.name] = o.wasStmt
		}
	case o.bound != nil:
		if n.portals[o.name] != o.bound {
			return
		}
		if o.wasBound == nil {
			delete(n.portals, o.name)
		} else {
			n.portals[o.name] = o.wasBound
		}
	}
}

// endTransaction forgets the portals that ended with a transaction: those made up to the segment that ended it.
func (n *names) endTransaction(segment uint64) {
	for name, p := range n.portals {
		if p.made <= segment && !p.hold {
			delete(n.portals, name)
		}
	}
}

// The prepared statements, and the portals, of one session are bounded by their number, and by the length of the
// statements' texts together.
const (
	maxNames     = 10000
	maxNamesText = 8 << 20
)

// room tells whether one more statement of a text may be kept. added only grows between two counts, so that most
// statements are not counted.
func (n *names) room(text int) bool {
	if len(n.statements) >= maxNames {
		return false
	}
	if n.added += text; n.added <= maxNamesText {
		return true
	}
	n.added = text
	for _, s := range n.statements {
		n.added += len(s.text)
	}
	return n.added <= maxNamesText
}
