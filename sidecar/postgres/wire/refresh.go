package wire

import (
	"strings"

	"github.com/jackc/pgproto3/v2"

	"github.com/chaperone-dev/chaperone/sidecar/postgres/catalogue"
)

// PathQuery asks for the session's schemas and role, in one row. Where pg_temp is the first, current_schemas would make
// the session's temporary schema (namespace.c, fetch_search_path), which the agent could tell from a session past us:
// the setting itself takes its place, in which pg_temp can stand quoted and in capitals. The query takes a snapshot,
// so inside a transaction, whose first statement the agent may want to be SET TRANSACTION, openPathQuery does.
const (
	PathQuery = `SELECT CASE WHEN pg_catalog.left(pg_catalog.lower(pg_catalog.ltrim(pg_catalog.current_setting('search_path'), ' "')), 7)` +
		` OPERATOR(pg_catalog.=) 'pg_temp' THEN pg_catalog.current_setting('search_path')` +
		` ELSE pg_catalog.current_schemas(false)::pg_catalog.text END, CURRENT_USER::pg_catalog.text`
	openPathQuery = "SHOW search_path; SHOW role"
)

// refresh is a query of our own and what came of it.
type refresh struct {
	kind    byte // one of the constants below
	result  int  // number of the result that comes now
	values  []string
	builder *catalogue.Builder
	epoch   uint64
	failed  bool
}

const (
	refreshPath      = 'p'
	refreshOpenPath  = 'o'
	refreshCatalogue = 'c'
	refreshTemporary = 't'
)

// fresh brings what is known of the session up to date, where something may have changed it and nothing is under
// way. It is false while that takes; what cannot be known now is left to unsure.
func (c *Core) fresh() bool {
	if c.refreshed > 0 && !c.drained() {
		return false
	}
	if c.segment.open || c.pending != nil || c.refreshed > 1 || c.tx == txFailed && c.queue.len() == 0 {
		return true
	}
	reload, temps := false, false
	var epoch uint64
	if shared := c.shared(); shared != nil {
		epoch, reload = shared.Outdated()
		temps = c.tempStale
	}
	if !c.stale && !reload && !temps {
		return true
	}
	if !c.drained() {
		return false
	}
	if c.tx == txFailed {
		return true
	}
	path := &refresh{kind: refreshPath}
	query := PathQuery
	if c.tx == txOpen {
		path.kind, query = refreshOpenPath, openPathQuery
	}
	if c.stale {
		c.look(query, path)
	}
	if reload && c.tx == txIdle { // its search_path ends with its transaction, which has to be its own
		c.look(catalogue.Query, &refresh{kind: refreshCatalogue, builder: catalogue.NewBuilder(), epoch: epoch})
	}
	if temps {
		c.look(catalogue.TemporaryQuery, &refresh{kind: refreshTemporary, builder: catalogue.NewBuilder()})
	}
	if c.queue.len() == 0 {
		return true
	}
	c.wait = WaitServer
	c.refreshed++
	return false
}

// unsure tells that what names mean is not known: something may have changed it since it was last asked for.
func (c *Core) unsure() bool { return c.stale }

// look sends a query of our own.
func (c *Core) look(query string, r *refresh) {
	c.send(&pgproto3.Query{String: query})
	c.queue.push(owed{kind: answerQuery, segment: c.segment.number, hidden: true, refresh: r})
	c.nextSegment()
}

// row takes a row of a query of our own. body is a DataRow's.
func (r *refresh) row(body []byte) {
	values, ok := fields(body, nil)
	if !ok {
		r.failed = true
		return
	}
	if r.builder != nil {
		if err := r.builder.Row(r.result, values); err != nil {
			r.failed = true
		}
		return
	}
	for _, v := range values {
		r.values = append(r.values, string(v))
	}
}

// fields splits a DataRow's body into its values; nil for NULL.
func fields(body []byte, into [][]byte) ([][]byte, bool) {
	if len(body) < 2 {
		return nil, false
	}
	n := int(body[0])<<8 | int(body[1])
	body = body[2:]
	for range n {
		if len(body) < 4 {
			return nil, false
		}
		size := int(int32(uint32(body[0])<<24 | uint32(body[1])<<16 | uint32(body[2])<<8 | uint32(body[3])))
		body = body[4:]
		switch {
		case size == -1:
			into = append(into, nil)
		case size < 0 || size > len(body):
			return nil, false
		default:
			into = append(into, body[:size:size])
			body = body[size:]
		}
	}
	return into, len(body) == 0
}

// refreshEnded takes in what a query of our own has found.
func (c *Core) refreshEnded(r *refresh) {
	if r.kind == refreshCatalogue {
		if shared := c.shared(); shared != nil && !r.failed && r.result == catalogue.Results {
			shared.Set(r.builder.Build(), r.epoch)
		}
		return
	}
	if r.kind == refreshTemporary {
		if c.tempStale = r.failed || r.result != catalogue.Results; !c.tempStale {
			c.temps = r.builder.Build()
			c.state.Temporary = c.temps.Names()
			c.version++
		}
		return
	}
	if r.failed || len(r.values) != 2 {
		// Nothing is known: names could be in any schema.
		c.setPath(nil, "")
		return
	}
	if r.kind == refreshPath {
		c.setPath(ParsePath(r.values[0]), r.values[1])
		return
	}
	user := r.values[1]
	if user == "none" {
		user = c.cfg.User
	}
	c.setPath(splitIdentifiers(r.values[0], false), user)
}

func (c *Core) setPath(path []string, user string) {
	c.stale = false
	c.path = pathText(path, user)
	c.state.SearchPath, c.state.User = path, user
	c.version++
}

// pathText is one text for a path and a role.
func pathText(path []string, user string) string {
	return strings.Join(path, ", ") + " as " + user
}

// ParsePath reads what PathQuery says of the schemas: a name[] in the server's text form, or a search_path that begins
// with pg_temp.
func ParsePath(text string) []string {
	if !strings.HasPrefix(text, "{") {
		return splitIdentifiers(text, false)
	}
	return splitIdentifiers(strings.TrimSuffix(strings.TrimPrefix(text, "{"), "}"), true)
}

// splitIdentifiers splits a list as in search_path, or the inside of an array: comma-separated, quoted where
// needed, with quotes doubled or, in an array, escaped. In a search_path, bare names are folded to lower case as the
// server does (varlena.c, SplitIdentifierString; scansup.c, downcase_identifier: of UTF-8, the ASCII letters alone).
func splitIdentifiers(text string, escapes bool) []string {
	var (
		out    []string
		item   strings.Builder
		quoted bool
		any    bool
	)
	end := func() {
		if any {
			out = append(out, item.String())
		}
		item.Reset()
		any = false
	}
	for i := 0; i < len(text); i++ {
		switch b := text[i]; {
		case escapes && quoted && b == '\\' && i+1 < len(text):
			i++
			item.WriteByte(text[i])
		case quoted && b == '"' && i+1 < len(text) && text[i+1] == '"':
			i++
			item.WriteByte('"')
		case b == '"':
			quoted, any = !quoted, true
		case !quoted && b == ',':
			end()
		case !quoted && (b == ' ' || b >= '\t' && b <= '\r'):
		case !quoted && !escapes && 'A' <= b && b <= 'Z':
			item.WriteByte(b + 'a' - 'A')
			any = true
		default:
			item.WriteByte(b)
			any = true
		}
	}
	end()
	return out
}
