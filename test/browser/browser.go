// Package browser drives a real headless Chromium, the machine's own or one unpacked from Debian's packages, over the
// DevTools protocol on a pipe (chromedevtools.github.io/devtools-protocol).
package browser

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"time"
)

// deadline is for one answer of the browser, on a machine that does much else.
const deadline = 60 * time.Second

// Browser is a running Chromium with one page, which has no network.
type Browser struct {
	cmd     *exec.Cmd
	in      io.WriteCloser
	profile string
	session string

	mu      sync.Mutex // guards what follows
	last    int
	waiting map[int]chan answer
	heard   Heard
	asked   map[string]string // what Heard.Requests holds, by the browser's number
	gone    error
}

// Heard is what the browser reported of its page.
type Heard struct {
	// Requests are the addresses that the page asked for, except files of this machine and data in the page itself, and
	// what the page's content security policy refused.
	Requests []string
	// Problems are errors and warnings: uncaught errors, what the content security policy refused, the console.
	Problems []string
}

type answer struct {
	Result json.RawMessage
	Error  *struct{ Message string }
}

// Start starts a browser with a window of this size.
func Start(ctx context.Context, width, height int) (*Browser, error) {
	in, err := install()
	if err != nil {
		return nil, err
	}
	profile, err := os.MkdirTemp("", "browser-")
	if err != nil {
		return nil, err
	}
	b := &Browser{profile: profile, waiting: map[int]chan answer{}, asked: map[string]string{}}
	theirs, ours, err := os.Pipe() // what they read
	if err != nil {
		return nil, err
	}
	from, to, err := os.Pipe() // what they write
	if err != nil {
		return nil, err
	}
	b.in = ours
	// Nothing resolves and no proxy is asked, so that a page which needs a network fails here.
	b.cmd = exec.CommandContext(ctx, in.program, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
		"--remote-debugging-pipe", "--user-data-dir="+profile, "--host-resolver-rules=MAP * ~NOTFOUND", "--no-proxy-server",
		"--disable-background-networking", "--disable-component-update", "--no-first-run", "--force-prefers-reduced-motion",
		"--force-device-scale-factor=1", "--hide-scrollbars", fmt.Sprintf("--window-size=%d,%d", width, height), "about:blank")
	b.cmd.Env = in.environment
	b.cmd.ExtraFiles = []*os.File{theirs, to} // 3 and 4
	if err := b.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", in.program, err)
	}
	theirs.Close()
	to.Close()
	go b.listen(from)
	if err := b.attach(width, height); err != nil {
		b.Stop()
		return nil, err
	}
	return b, nil
}

// Stop ends the browser.
func (b *Browser) Stop() {
	_ = b.in.Close()
	_ = b.cmd.Process.Kill()
	_ = b.cmd.Wait()
	_ = os.RemoveAll(b.profile)
}

func (b *Browser) attach(width, height int) error {
	var targets struct {
		TargetInfos []struct{ TargetID, Type string }
	}
	var page string
	for until := time.Now().Add(deadline); page == ""; time.Sleep(50 * time.Millisecond) {
		if err := b.call("Target.getTargets", nil, &targets); err != nil {
			return err
		}
		for _, t := range targets.TargetInfos {
			if t.Type == "page" {
				page = t.TargetID
			}
		}
		if time.Now().After(until) {
			return errors.New("the browser opened no page")
		}
	}
	var attached struct{ SessionID string }
	if err := b.call("Target.attachToTarget", map[string]any{"targetId": page, "flatten": true}, &attached); err != nil {
		return err
	}
	b.session = attached.SessionID
	for _, domain := range []string{"Page", "Runtime", "Log", "Network"} {
		if err := b.call(domain+".enable", nil, nil); err != nil {
			return err
		}
	}
	return b.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false}, nil)
}

// listen reads what the browser sends: messages of JSON, each ended by a zero byte.
func (b *Browser) listen(from io.ReadCloser) {
	defer from.Close()
	r := bufio.NewReaderSize(from, 1<<20)
	for {
		text, err := r.ReadBytes(0)
		if err != nil {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.gone = errors.New("the browser is gone")
			for id, c := range b.waiting {
				delete(b.waiting, id)
				close(c)
			}
			return
		}
		var m struct {
			answer
			ID     int
			Method string
			Params json.RawMessage
		}
		if json.Unmarshal(text[:len(text)-1], &m) != nil {
			continue
		}
		b.mu.Lock()
		if c := b.waiting[m.ID]; c != nil && m.Method == "" {
			delete(b.waiting, m.ID)
			c <- m.answer
		}
		b.note(m.Method, m.Params)
		b.mu.Unlock()
	}
}

// call asks the browser for something and reads its answer into out, which may be nil.
func (b *Browser) call(method string, params, out any) error {
	if params == nil {
		params = struct{}{}
	}
	b.mu.Lock()
	if b.gone != nil {
		b.mu.Unlock()
		return b.gone
	}
	b.last++
	c := make(chan answer, 1)
	b.waiting[b.last] = c
	text, err := json.Marshal(struct {
		ID      int    `json:"id"`
		Session string `json:"sessionId,omitempty"`
		Method  string `json:"method"`
		Params  any    `json:"params"`
	}{b.last, b.session, method, params})
	b.mu.Unlock()
	if err != nil {
		return err
	}
	if _, err := b.in.Write(append(text, 0)); err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	select {
	case a, ok := <-c:
		switch {
		case !ok:
			return fmt.Errorf("%s: %w", method, b.gone)
		case a.Error != nil:
			return fmt.Errorf("%s: %s", method, a.Error.Message)
		case out == nil:
			return nil
		}
		return json.Unmarshal(a.Result, out)
	case <-time.After(deadline):
		return fmt.Errorf("%s: no answer in %s", method, deadline)
	}
}

// Screenshot returns what the window shows as PNG.
func (b *Browser) Screenshot() ([]byte, error) {
	var shot struct{ Data string }
	if err := b.call("Page.captureScreenshot", map[string]any{"format": "png"}, &shot); err != nil {
		return nil, err
	}
	return base64.StdEncoding.DecodeString(shot.Data)
}
