package page

import (
	"bytes"
	"fmt"
	"html/template"
	"io"
	"strings"
	"time"

	"github.com/chaperone-dev/chaperone/sidecar/record"
)

// A page is held in memory, here and in a browser. What is beyond these bounds is counted and not shown; the page
// says so, and the other formats have all of it.
const (
	// mostEntries is what a browser still lays out and searches at once.
	mostEntries = 20_000
	// mostText bounds the text of all entries, and a terminal's recording.
	mostText = 32 << 20
)

// Page collects a log and writes it as one HTML file.
type Page struct {
	meta    record.Meta
	entries []*entry
	under   map[command]*entry // by connection and number, those that may still get a result
	cast    bytes.Buffer
	player  *record.Asciicast
	text    int
	left    int // entries that did not fit
	cut     bool
	last    float64
}

type command struct {
	connection uint32
	number     uint64
}

// New returns an empty page.
func New(meta record.Meta) *Page {
	p := &Page{meta: meta, under: map[command]*entry{}}
	if meta.Terminal {
		p.player = record.NewAsciicast(&p.cast, meta)
	}
	return p
}

// Event adds an event of a chunk that was verified.
func (p *Page) Event(e record.Event) error {
	p.last = max(p.last, e.Time)
	if p.player != nil {
		if p.cast.Len() > mostText {
			p.cut = p.cut || e.Kind == record.KindOutput
		} else if err := p.player.Event(e); err != nil {
			return fmt.Errorf("writing the terminal: %w", err)
		}
		if e.Kind == record.KindOutput || e.Kind == record.KindInput || e.Kind == record.KindResize {
			return nil
		}
	}
	if e.Kind == record.KindResult || e.Kind == record.KindApproval || e.Kind == record.KindOutput || e.Kind == record.KindInput {
		if of := p.under[command{e.Connection, e.Command}]; of != nil && e.Command != 0 {
			if p.room(len(e.Data) + len(e.Error) + len(e.Message)) {
				of.follow(&e)
			} else {
				of.Cut = true
			}
			return nil
		}
	}
	if len(p.entries) >= mostEntries || !p.room(len(e.Text)+len(e.Data)+len(e.Error)) {
		p.left++
		return nil
	}
	n := newEntry(p.meta.Start, &e)
	p.entries = append(p.entries, n)
	if e.Kind == record.KindCommand && e.Command != 0 {
		p.under[command{e.Connection, e.Command}] = n
	}
	return nil
}

func (p *Page) room(n int) bool {
	if p.text+n > mostText {
		return false
	}
	p.text += n
	return true
}

// view is what the template shows.
type view struct {
	Policy                   string
	Title                    string
	Facts                    [][2]string
	State                    state
	Totals                   []total
	Kinds                    []kind
	Entries                  []*entry
	Left                     int
	Cut                      bool
	Verification             string
	Terminal                 bool
	Cast                     template.JS
	PlayerScript, PageScript template.JS
	PlayerStyle, PageStyle   template.CSS
	Notice                   string
	Writer                   string
}

// Write writes the page. by is the program that does, with its version.
func (p *Page) Write(w io.Writer, v record.Verification, by string) error {
	out := view{
		Title: show(strings.Trim(p.meta.Namespace+"/"+p.meta.Recording, "/")), Facts: facts(p.meta, p.last), State: stateOf(v),
		Totals: totals(v.Counts), Entries: p.entries, Left: p.left, Cut: p.cut, Verification: show(v.String()),
		PageScript: template.JS(pageScript), PageStyle: template.CSS(pageStyle), //nolint:gosec // this package's own files
		Kinds: kindsOf(p.entries), Writer: show(by),
	}
	scripts, styles := []string{pageScript}, []string{pageStyle}
	if p.player != nil && p.cast.Len() > 0 {
		out.Terminal, out.Cast, out.Notice = true, data(p.cast.String()), playerNotice
		out.PlayerScript, out.PlayerStyle = template.JS(playerScript), template.CSS(playerStyle) //nolint:gosec // the player's own files
		scripts, styles = append(scripts, playerScript), append(styles, playerStyle)
	}
	out.Policy = contentSecurityPolicy(scripts, styles)
	if err := templates.ExecuteTemplate(w, "page", out); err != nil {
		return fmt.Errorf("writing the page: %w", err)
	}
	return nil
}

func facts(m record.Meta, last float64) [][2]string {
	var out [][2]string
	add := func(name, text string) {
		if text != "" {
			out = append(out, [2]string{name, show(text)})
		}
	}
	add("Pod", m.Pod)
	add("Service account", m.ServiceAccount)
	target := m.Target
	if m.Protocol != "" {
		target += " (" + m.Protocol + ")"
	}
	add("Target", target)
	add("User there", m.User)
	add("Policies", strings.Join(m.Policies, ", "))
	add("Started", m.Start.UTC().Format("2006-01-02 15:04:05 MST"))
	add("Length", time.Duration(last*float64(time.Second)).Round(100*time.Millisecond).String())
	add("Log", m.Log)
	return out
}
