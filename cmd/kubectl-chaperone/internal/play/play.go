// Package play shows a verified log on a terminal: a recorded terminal as it was, anything else as a timeline.
package play

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/chaperone-dev/chaperone/sidecar/record"
)

// Options are how a log is played.
type Options struct {
	Speed     float64       // how much faster than it was
	IdleLimit time.Duration // the longest pause, after Speed; 0: none
	// Timing tells whether to wait between events, which depends on whether it is a terminal that plays.
	Timing func(terminal bool) bool
	// Wait lets time pass, for ever where it is negative; it returns early with a key that the reader pressed.
	Wait func(context.Context, time.Duration) (Key, error)
	// From is where to begin: what a terminal showed before that is put on the screen at once, of a timeline nothing
	// before it is shown.
	From Start
}

// Player plays one log.
type Player struct {
	out, note io.Writer
	options   Options
	timeline  *record.Timeline
	display   *record.Display // of a terminal
	last      float64         // seconds, of the event before
	reached   bool            // Options.From
	jumping   bool            // to the next command
}

// New returns a player that shows the log on out. What there is to say about a recorded terminal goes to note, so
// that it does not end up on the screen that is played.
func New(out, note io.Writer, options Options) *Player {
	return &Player{out: out, note: note, options: options}
}

// begin decides by what was recorded how it is shown.
func (p *Player) begin(meta record.Meta) {
	switch {
	case p.timeline != nil || p.display != nil:
	case meta.Terminal:
		p.display = &record.Display{}
	default:
		p.timeline = record.NewTimeline(p.out, meta)
	}
}

// Play shows the next events of a log.
func (p *Player) Play(ctx context.Context, meta record.Meta, events []record.Event) error {
	p.begin(meta)
	for i := range events {
		p.reached = p.reached || p.options.From.Reached(&events[i])
		if p.reached {
			if err := p.wait(ctx, &events[i]); err != nil {
				return err
			}
		} else {
			p.last = max(p.last, events[i].Time)
			if p.timeline != nil {
				p.timeline.Skip(&events[i])
				continue
			}
		}
		if err := p.show(&events[i]); err != nil {
			return fmt.Errorf("showing the recording: %w", err)
		}
	}
	return nil
}

// wait lets as much time pass as between the event before and this one, or does what the reader asks for.
func (p *Player) wait(ctx context.Context, e *record.Event) error {
	pause := time.Duration((e.Time - p.last) / p.options.Speed * float64(time.Second))
	p.last = max(p.last, e.Time)
	if limit := p.options.IdleLimit; limit > 0 {
		pause = min(pause, limit)
	}
	if p.jumping && e.Kind == record.KindCommand {
		p.jumping, pause = false, 0
	}
	if pause <= 0 || p.jumping || !p.options.Timing(p.display != nil) {
		return nil
	}
	key, err := p.options.Wait(ctx, pause)
	for paused := false; err == nil; key, err = p.options.Wait(ctx, -1) {
		switch key {
		case NextMarker:
			p.jumping = e.Kind != record.KindCommand
			return nil
		case Quit:
			return ErrEnough
		case Pause:
			paused = !paused
		}
		if !paused {
			return nil
		}
	}
	return err
}

// Reached tells whether the log came as far as Options.From.
func (p *Player) Reached() bool { return p.reached || p.options.From == Start{} }

func (p *Player) show(e *record.Event) error {
	if p.timeline != nil {
		return p.timeline.Event(*e)
	}
	if e.Kind != record.KindOutput {
		return nil
	}
	_, err := io.WriteString(p.out, p.display.Filter(e.Data))
	return err
}

// Finish leaves the terminal as it was and says what the verification found.
func (p *Player) Finish(meta record.Meta, v record.Verification) error {
	p.begin(meta)
	if p.timeline != nil {
		return p.timeline.Finish(v)
	}
	if err := p.Stop(); err != nil {
		return err
	}
	_, err := fmt.Fprintln(p.note, v)
	return err
}

// Stop leaves the terminal as it was, in the middle of a log.
func (p *Player) Stop() error {
	if p.display == nil {
		return nil
	}
	_, err := io.WriteString(p.out, record.Restore+"\r\n")
	return err
}
