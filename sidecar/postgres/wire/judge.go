package wire

import (
	"errors"
	"slices"
	"strings"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/postgres/catalogue"
	"github.com/chaperone-dev/chaperone/sidecar/postgres/sql"
)

// judged is a query string, understood and judged under certain rules and session state. It is immutable, but for what
// is kept with it to be found sooner.
type judged struct {
	text string
	// recorded is text as it stands in the recording, once that was asked for.
	recorded string
	rules    *Rules
	version  uint64
	// cat is the catalogue that the shapes were traced with, as of epoch.
	cat   *catalogue.Catalogue
	epoch uint64
	// routines is what is known of the database's code even where cat is not.
	routines *catalogue.Catalogue

	syntax *sql.SyntaxError
	parts  []part
	// commands are all parts', with what the lineage adds; verdict is the strictest over them.
	commands []policy.Command
	verdict  policy.Verdict
	// kept says that the verdict may be used again.
	kept bool
	// blind says that all but text holds for every query string of the same skeleton (see alike.go).
	blind bool
	// results is how its last result was masked; those alike share it.
	results *results
	effects
}

// part is one statement of a query string.
type part struct {
	*sql.Statement
	// shape is that of the rows which the statement returns itself; for EXECUTE and FETCH it is found when it
	// runs, by the name.
	shape sql.Shape
	// inner is the shape of the statement inside PREPARE and DECLARE CURSOR.
	inner sql.Shape
	// innerCommands are the inner statement's, judged again where it runs.
	innerCommands []policy.Command
}

// effects are what a query string does to what later ones mean.
type effects struct {
	settles   bool // a deferred constraint can fail in it, and quote what statements before it have written
	names     bool // defines, uses or drops prepared statements or cursors by SQL
	uses      bool // runs a statement or a cursor by its name
	tracked   bool // may change search_path or role
	catalogue bool // may change relations or views
	temporary bool // makes temporary relations
	copyIn    bool // takes data from the agent
	reads     bool // does nothing but read
	touches   bool // works on protected columns, or on what may hold their values
	ends      bool // may end a transaction or go back in it
	unknown   bool // was not understood
	reforms   bool // may change how literals and values are read
	calls     bool // calls functions that are not known to be the server's
}

// The verdicts kept for the next time are bounded by their number, by the length of one text and of all: a pod has
// dozens of sessions, and its sidecar's memory is counted in tens of MiB.
const (
	maxVerdicts   = 64
	maxCached     = 4 << 10
	maxCachedText = 32 << 10
	// maxStatements statements, of up to maxRemembered bytes each, have their verdict with them.
	maxStatements = 32
	maxRemembered = 1 << 10
)

// judge understands and judges a query string as of now. unsure says that what a name means cannot be known now.
func (c *Core) judge(text []byte, unsure bool) *judged {
	rules := c.rules()
	cat, epoch := c.catalogue()
	if unsure {
		cat = nil
	}
	// A ROLLBACK would bring back what an open transaction has changed: what a cached verdict says of a string
	// that holds one is not known.
	settled := !unsure && !c.touched && !c.altering && len(text) <= maxCached
	if settled {
		if j := c.verdicts[string(text)]; j != nil && j.holds(rules, c.version, cat, epoch) {
			return j
		}
		if j := c.alike(text, rules, cat, epoch); j != nil {
			return j
		}
	}
	j := c.understand(string(text), rules, cat, epoch, unsure, c.state)
	if !settled || j.verdict.Unevaluated {
		return j
	}
	j.kept = true
	if len(c.verdicts)+len(c.skeletons) >= maxVerdicts || c.cachedText+len(j.text) > maxCachedText {
		c.forgetVerdicts()
	}
	if !c.keepAlike(j) {
		c.verdicts[j.text] = j
	}
	c.cachedText += len(j.text)
	return j
}

// understand reads a query string and judges it in a state.
func (c *Core) understand(text string, rules *Rules, cat *catalogue.Catalogue, epoch uint64, unsure bool, state sql.State) *judged {
	j := &judged{text: text, rules: rules, version: c.version, cat: cat, epoch: epoch, results: &results{}}
	if shared := c.shared(); shared != nil {
		j.routines = shared.Routines()
		if last := shared.Last(); last != nil {
			state.Last = last
		}
	}
	if cat != nil {
		state.Catalogue = cat
	}
	if unsure {
		state.SearchPath, state.User, j.version = nil, "", 0
	}
	j.read(state)
	if !unsure && j.shifting(c.touched || c.altering) {
		// What one of its statements changes, the next would be judged by: judge by nothing.
		state.SearchPath, state.User, state.Catalogue = nil, "", nil
		j.cat = nil
		j.read(state)
		j.cat = cat
	}
	return j
}

// holds tells whether a verdict that is kept is of these rules and this state.
func (j *judged) holds(rules *Rules, version uint64, cat *catalogue.Catalogue, epoch uint64) bool {
	return j.rules == rules && j.version == version && j.cat == cat && j.epoch == epoch
}

// judgeStatement judges a prepared statement as of now, as judge does. The verdicts of the statements that were used
// last are found without looking at their texts.
func (c *Core) judgeStatement(s *statement) *judged {
	unsure := c.unsure()
	if j := s.judged; j != nil && !unsure && !c.touched && !c.altering {
		rules := c.rules()
		if cat, epoch := c.catalogue(); j.holds(rules, c.version, cat, epoch) {
			return j
		}
	}
	j := c.judge([]byte(s.text), unsure)
	c.found(s, j.commandsOf(s))
	if s.earlier != nil && j.syntax == nil {
		j = c.judgeEarlier(s, unsure)
	}
	c.remember(s, j)
	return j
}

// remember keeps a statement's verdict with it, where judge would keep it.
func (c *Core) remember(s *statement, j *judged) {
	if !j.kept || len(s.text) > maxRemembered {
		s.judged = nil
		return
	}
	if s.judged == nil {
		at := &c.remembered[c.forgotten%maxStatements]
		c.forgotten++
		if *at != nil {
			(*at).judged = nil
		}
		*at = s
	}
	s.judged = j
}

// forgetVerdicts makes room.
func (c *Core) forgetVerdicts() {
	clear(c.verdicts)
	clear(c.skeletons)
	c.cachedText = 0
}

// read parses, traces and decides.
func (j *judged) read(state sql.State) {
	j.parts, j.commands, j.syntax, j.blind, j.effects = nil, nil, nil, false, effects{}
	parsed, err := sql.Parse(j.text, state)
	if err != nil {
		if !errors.As(err, &j.syntax) {
			j.unknown, j.names, j.tracked, j.catalogue = true, true, true, true
			j.touches = !j.rules.protected.Empty()
			j.commands = []policy.Command{{Protocol: policy.ProtocolPostgres, Text: j.text, Unrecognised: err.Error()}}
			j.verdict = j.rules.destination.Decide(j.commands[0])
		}
		return
	}
	j.blind = parsed.LiteralBlind
	j.parts = make([]part, len(parsed.Statements))
	j.reads = true
	for i := range parsed.Statements {
		p := &j.parts[i]
		p.Statement = &parsed.Statements[i]
		j.trace(p)
		j.note(p)
	}
	j.decide()
	for i := range j.parts {
		j.parts[i].Statement = withoutTree(j.parts[i].Statement)
	}
}

// withoutTree returns what is known of a statement without its parse tree, which takes many times its text.
func withoutTree(s *sql.Statement) *sql.Statement {
	if s == nil {
		return nil
	}
	return &sql.Statement{
		Kind: s.Kind, Tag: s.Tag, Text: s.Text, Start: s.Start, End: s.End, Commands: s.Commands,
		Transaction: s.Transaction, Setting: s.Setting, Prepared: s.Prepared, Cursor: s.Cursor, Copy: s.Copy,
		Discard: s.Discard, Inner: withoutTree(s.Inner), ReturnsRows: s.ReturnsRows,
		CreatesTemporary: s.CreatesTemporary, ChangesCatalogue: s.ChangesCatalogue,
	}
}

// trace finds where the columns of a statement come from and adds what that says to its commands.
func (j *judged) trace(p *part) {
	var cat sql.Catalogue
	switch {
	case j.cat != nil:
		cat = j.cat
	case j.routines != nil:
		cat = j.routines
	}
	protected := j.rules.protected
	j.hold(p.Statement)
	commands := p.Commands
	switch p.Kind {
	case sql.KindPrepare, sql.KindDeclare:
		if p.Inner == nil {
			break
		}
		p.inner = p.Inner.Lineage(protected, cat)
		p.shape = sql.Shape{Rest: sql.Column{Proof: sql.Clear}} // returns nothing
		commands = withLineage(commands, &p.inner)
		p.innerCommands = withLineage(p.Inner.Commands, &p.inner)
	default:
		p.shape = p.Lineage(protected, cat)
		commands = withLineage(commands, &p.shape)
	}
	j.touches = j.touches || p.shape.Touches || p.inner.Touches
	j.commands = append(j.commands, commands...)
}

// withLineage returns the commands with what the lineage says of them, without changing the recogniser's own.
func withLineage(commands []policy.Command, shape *sql.Shape) []policy.Command {
	if shape.Launders == "" && shape.Infers == "" {
		return commands
	}
	out := make([]policy.Command, len(commands))
	copy(out, commands)
	for i := range out {
		if out[i].SQL == nil {
			continue
		}
		s := *out[i].SQL
		s.Launders, s.Infers = shape.Launders, shape.Infers
		out[i].SQL = &s
	}
	return out
}

// note collects what a statement does to later ones.
func (j *judged) note(p *part) {
	if p.byName() != nil {
		j.names, j.uses = true, true
	}
	switch p.Kind {
	case sql.KindPrepare, sql.KindDeallocate, sql.KindDeclare, sql.KindClose:
		j.names = true
	case sql.KindDiscard:
		j.names, j.tracked, j.catalogue, j.reforms = true, true, true, true
	case sql.KindTransaction:
		j.ends = p.Transaction == nil || p.Transaction.Kind != sql.Begin
		j.settles = true
	case sql.KindCopy:
		j.copyIn = j.copyIn || p.Copy != nil && !p.Copy.To
	}
	if p.Setting != nil && (p.Setting.Name == "" || p.Setting.Class == sql.SettingTracked) {
		j.tracked = true
	}
	j.reforms = j.reforms || p.Setting != nil && reforms(p.Setting.Name)
	switch {
	case p.CreatesTemporary != "": // nobody else's concern
		j.temporary = true
	case p.ChangesCatalogue:
		j.catalogue = true
	}
	if strings.HasPrefix(p.Tag, "SET CONSTRAINTS") {
		j.settles = true
	}
	for i := range p.Commands {
		s := p.Commands[i].SQL
		if s == nil {
			j.unknown, j.reads = true, false
			continue
		}
		j.reads = j.reads && s.ReadOnly
		if s.Opaque {
			j.names, j.tracked, j.catalogue, j.reforms = true, true, true, true
		}
		// Servers before 18 do not report their search_path: what a function has made of it has to be asked for.
		j.calls = j.calls || slices.ContainsFunc(s.Functions, func(f string) bool {
			return sql.MayChangeSession(f) || j.routines != nil && j.routines.Own(sql.OwnFunction, f)
		})
		j.tracked = j.tracked || j.calls
		j.reforms = j.reforms || j.calls
		for t := range s.Tables {
			j.touches = j.touches || j.rules.touches(&s.Tables[t])
		}
	}
	if j.unknown {
		j.names, j.tracked, j.catalogue, j.reforms = true, true, true, true
		j.touches = j.touches || !j.rules.protected.Empty()
	}
}

// byName is the EXECUTE or FETCH that a statement is, or that it is wrapped around (EXPLAIN, CREATE TABLE AS); nil
// for any other.
func (p *part) byName() *sql.Statement {
	for s := p.Statement; s != nil; s = s.Inner {
		if s.Kind == sql.KindExecute && s.Prepared != nil || s.Kind == sql.KindFetch && s.Cursor != nil {
			return s
		}
	}
	return nil
}

// decide takes the strictest verdict. PREPARE runs nothing: what its statement needs people for is asked when
// it is executed.
func (j *judged) decide() {
	d := j.rules.destination
	running := j.commands
	for i := range j.parts {
		if j.parts[i].Kind != sql.KindPrepare {
			continue
		}
		running = nil
		for k := range j.parts {
			p := &j.parts[k]
			commands := withLineage(p.Commands, &p.shape)
			if p.Inner != nil {
				commands = withLineage(p.Commands, &p.inner)
			}
			if p.Kind != sql.KindPrepare {
				running = append(running, commands...)
				continue
			}
			if v, _ := d.DecideAll(commands); v.Action == policy.Deny {
				j.verdict = v
				return
			}
		}
		break
	}
	j.verdict, _ = d.DecideAll(running)
}

// shifting tells whether a statement of several changes what those behind it mean; unsettled, that the end of a
// transaction does.
func (j *judged) shifting(unsettled bool) bool {
	for i := 0; i+1 < len(j.parts); i++ {
		p := &j.parts[i]
		one := judged{rules: j.rules}
		one.note(p)
		if one.tracked || one.catalogue || one.temporary || unsettled && one.ends {
			return true
		}
	}
	return false
}

// catalogue returns what is known of the server's relations, where that matters.
func (c *Core) catalogue() (*catalogue.Catalogue, uint64) {
	shared := c.shared()
	if shared == nil {
		return nil, 0
	}
	cat, epoch := shared.Current()
	if cat == nil || c.temps == nil {
		return cat, epoch
	}
	if c.layered == nil || c.under != cat {
		c.layered, c.under = c.temps.Over(cat), cat
	}
	return c.layered, epoch
}

// shared is the database's catalogue, where it is needed: to trace columns that are protected by name, or to know
// in which of several schemas a name is.
func (c *Core) shared() *catalogue.Shared {
	if c.compiled == nil || !c.compiled.ByName() && len(c.state.SearchPath) < 2 {
		return nil
	}
	return c.cfg.Catalogue
}
