// Package progress tells a person what is being done, how far it is and how
// long it takes.
package progress

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// logInterval is how often a line is printed where lines cannot be rewritten:
// seldom enough for a log, often enough that nobody takes it for hung.
const logInterval = 15 * time.Second

// Plan is a number of steps, told one after the other.
type Plan struct {
	out   io.Writer
	tty   bool
	total int
	done  int
}

// New starts a plan of total steps, told on standard error so that standard
// output stays free for answers.
func New(total int) *Plan {
	_, err := unix.IoctlGetTermios(int(os.Stderr.Fd()), unix.TCGETS)
	return &Plan{out: os.Stderr, tty: err == nil, total: total}
}

// Step is the one under way. Its methods may be called from any goroutine.
type Step struct {
	name   string
	expect time.Duration
	start  time.Time

	mu          sync.Mutex // guards what a telling reads
	detail      string
	done, total int
}

// Say sets what the step is at, in a few words.
func (s *Step) Say(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.detail = fmt.Sprintf(format, args...)
}

// Count says that done of at most total parts are done, from which the time
// that is left follows on a machine that is busy with other things, too.
func (s *Step) Count(done, total int, parts string) {
	s.Say("%d of at most %d %s", done, total, parts)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.done, s.total = done, total
}

func (s *Step) line(now time.Time) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	line := s.name
	if s.detail != "" {
		line += ": " + s.detail
	}
	line += ", " + round(now.Sub(s.start))
	if s.expect > 0 {
		line += " of about " + round(s.expect)
	}
	// A pace is known when a twentieth is done.
	if elapsed := now.Sub(s.start); s.done*20 >= s.total && s.done > 0 && elapsed > logInterval {
		left := elapsed * time.Duration(s.total-s.done) / time.Duration(s.done)
		line += ", at this pace at most " + round(left) + " more"
	}
	return line
}

func round(d time.Duration) string {
	if d < 10*time.Second {
		return d.Round(100 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}

// Run does the next step. expect is how long it takes on two idle cores; zero
// says nothing.
func (p *Plan) Run(name string, expect time.Duration, do func(*Step) error) error {
	p.done++
	step := &Step{name: name, expect: expect, start: time.Now()}
	stop, told := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(told)
		p.tell(step, stop)
	}()
	err := do(step)
	close(stop)
	<-told
	outcome := "done in " + round(time.Since(step.start))
	if err != nil {
		outcome = "failed after " + round(time.Since(step.start))
	}
	p.print(fmt.Sprintf("%s: %s", name, outcome), true)
	return err
}

// Skip counts a step that has nothing to do.
func (p *Plan) Skip() { p.done++ }

func (p *Plan) tell(step *Step, stop <-chan struct{}) {
	interval := logInterval
	if p.tty {
		interval = time.Second
	}
	if !p.tty && step.expect > logInterval {
		p.print(fmt.Sprintf("%s: started, takes about %s on two idle cores", step.name, round(step.expect)), true)
	}
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-stop:
			return
		case now := <-ticker.C:
			p.print(step.line(now), false)
		}
	}
}

// print writes a line; on a terminal one that is not final is written over by
// the next.
func (p *Plan) print(line string, final bool) {
	text := fmt.Sprintf("[%d/%d] %s", p.done, p.total, line)
	if !p.tty {
		fmt.Fprintln(p.out, text)
		return
	}
	fmt.Fprintf(p.out, "\r\x1b[K%s", text)
	if final {
		fmt.Fprintln(p.out)
	}
}
