package browser

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Open opens a file in the page and waits until it is loaded.
func (b *Browser) Open(file string) error {
	b.mu.Lock()
	b.heard, b.asked = Heard{}, map[string]string{}
	b.mu.Unlock()
	var opened struct{ ErrorText string }
	if err := b.call("Page.navigate", map[string]any{"url": "file://" + file}, &opened); err != nil {
		return err
	}
	if opened.ErrorText != "" {
		return fmt.Errorf("opening %s: %s", file, opened.ErrorText)
	}
	return b.WaitFor("document.readyState === 'complete' && location.protocol === 'file:'")
}

// Dark chooses the dark colours, or the light ones.
func (b *Browser) Dark(dark bool) error {
	value := map[bool]string{true: "dark", false: "light"}[dark]
	return b.call("Emulation.setEmulatedMedia", map[string]any{"features": []any{map[string]string{"name": "prefers-color-scheme", "value": value}}}, nil)
}

// Run evaluates an expression in the page, waits for a promise, and reads the value into out, which may be nil.
func (b *Browser) Run(expression string, out any) error {
	var r struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails *struct {
			Text      string
			Exception struct{ Description string }
		}
	}
	if err := b.call("Runtime.evaluate", map[string]any{"expression": expression, "awaitPromise": true, "returnByValue": true, "allowUnsafeEvalBlockedByCSP": false}, &r); err != nil {
		return err
	}
	if e := r.ExceptionDetails; e != nil {
		return errors.New(e.Text + " " + e.Exception.Description)
	}
	if out == nil || r.Result.Value == nil {
		return nil
	}
	return json.Unmarshal(r.Result.Value, out)
}

// WaitFor evaluates an expression until it is true.
func (b *Browser) WaitFor(expression string) error {
	for until := time.Now().Add(deadline); ; time.Sleep(50 * time.Millisecond) {
		var ok bool
		if err := b.Run("!!("+expression+")", &ok); err != nil {
			return err
		}
		if ok {
			return nil
		}
		if time.Now().After(until) {
			return fmt.Errorf("%s did not come true in %s", expression, deadline)
		}
	}
}

// Type types a text into whatever has the focus.
func (b *Browser) Type(text string) error {
	return b.call("Input.insertText", map[string]any{"text": text}, nil)
}

// Press presses a key that has a character.
func (b *Browser) Press(key string) error {
	for _, kind := range []string{"keyDown", "keyUp"} {
		params := map[string]any{"type": kind, "key": key}
		if kind == "keyDown" {
			params["text"] = key
		}
		if err := b.call("Input.dispatchKeyEvent", params, nil); err != nil {
			return err
		}
	}
	return nil
}

// Heard returns what the browser reported since the page was opened.
func (b *Browser) Heard() Heard {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.heard
}

// note keeps what the tests ask about. Called with mu held.
func (b *Browser) note(method string, params json.RawMessage) {
	var p struct {
		RequestID        string
		BlockedReason    string
		Request          struct{ URL string }
		Entry            struct{ Level, Text string }
		Type             string
		Args             []struct{ Value any }
		ExceptionDetails struct {
			Text      string
			Exception struct{ Description string }
		}
	}
	if method == "" || json.Unmarshal(params, &p) != nil {
		return
	}
	problem := func(parts ...any) {
		b.heard.Problems = append(b.heard.Problems, strings.TrimSpace(fmt.Sprintln(parts...)))
	}
	switch method {
	case "Network.requestWillBeSent":
		if u := p.Request.URL; !strings.HasPrefix(u, "file://") && !strings.HasPrefix(u, "data:") && !strings.HasPrefix(u, "blob:") {
			b.heard.Requests = append(b.heard.Requests, u)
			b.asked[p.RequestID] = u
		}
	case "Network.loadingFailed": // announced, and then not sent because the page's own policy forbids it
		if u, ok := b.asked[p.RequestID]; ok && p.BlockedReason == "csp" {
			b.heard.Requests = slices.DeleteFunc(b.heard.Requests, func(other string) bool { return other == u })
		}
	case "Log.entryAdded":
		if p.Entry.Level == "error" || p.Entry.Level == "warning" {
			problem(p.Entry.Text)
		}
	case "Runtime.exceptionThrown":
		problem(p.ExceptionDetails.Text, p.ExceptionDetails.Exception.Description)
	case "Runtime.consoleAPICalled":
		if p.Type == "error" || p.Type == "warning" || p.Type == "assert" {
			problem("console:", p.Args)
		}
	}
}
