package command

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/chaperone-dev/chaperone/cmd/kubectl-chaperone/internal/play"
	"github.com/chaperone-dev/chaperone/sidecar/record"
)

func (e *environment) replay() *cobra.Command {
	var (
		log       source
		from      string
		markers   bool
		speed     float64
		idleLimit time.Duration
		noTiming  bool
	)
	cmd := &cobra.Command{
		Use:   "replay (NAME | --file FILE)",
		Short: "Show what an agent did",
		Long: "Show what an agent did: every command, what was decided and why, who approved it and what came back; of a\n" +
			"recorded terminal, the terminal as it was. Only what verifies is shown, and the end says how far that is.\n\n" +
			"A terminal plays at its own pace; anything else is printed at once, unless --speed is given. While a terminal\n" +
			"plays: space pauses, ] jumps to the next command, q ends.",
		Example: "  kubectl chaperone replay billing-agent-billing-x7k2p -n agents\n\n" +
			"  # a terminal, faster, from its seventh minute on\n" +
			"  kubectl chaperone replay shell-agent-bastion-p2m4t -n agents --speed 4 --idle-limit 1s --from 7m\n\n" +
			"  # the commands in it, and from one of them on\n" +
			"  kubectl chaperone replay shell-agent-bastion-p2m4t -n agents --markers\n" +
			"  kubectl chaperone replay shell-agent-bastion-p2m4t -n agents --from 1.12",
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: e.names(recordingNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			if speed <= 0 {
				return fmt.Errorf("--speed %v: must be more than 0", speed)
			}
			start, err := play.ParseStart(from)
			if err != nil {
				return fmt.Errorf("--from %s: %w", from, err)
			}
			if markers {
				return e.markers(cmd.Context(), &log, args, start)
			}
			keys := play.NoKeys()
			player := play.New(e.Out, e.ErrOut, play.Options{
				Speed: speed, IdleLimit: idleLimit, From: start,
				Wait: func(ctx context.Context, d time.Duration) (play.Key, error) { return keys.Wait(ctx, d) },
				Timing: func(terminal bool) bool {
					return !noTiming && (cmd.Flags().Changed("speed") || terminal && isTerminal(e.Out))
				},
			})
			begun := false
			meta, v, err := e.read(cmd.Context(), &log, args, nil, func(m record.Meta, events []record.Event) error {
				if !begun && m.Terminal && !noTiming && isTerminal(e.Out) && isTerminal(e.In) {
					keys = play.ReadKeys(e.In)
				}
				begun = true
				return player.Play(cmd.Context(), m, events)
			})
			defer keys.Close()
			if errors.Is(err, play.ErrEnough) {
				return player.Stop()
			}
			if err != nil {
				return errors.Join(err, player.Stop())
			}
			if err := player.Finish(meta, v); err != nil {
				return err
			}
			if !player.Reached() {
				return fmt.Errorf("--from %s: the recording does not come to that; --markers lists its commands", from)
			}
			return broken(log.what(args), v)
		},
	}
	log.bind(cmd)
	cmd.Flags().StringVar(&from, "from", "", "where to begin: after so long (7m30s), or at a command by its number (2.15)")
	cmd.Flags().BoolVar(&markers, "markers", false, "list the commands with their numbers and times instead")
	cmd.Flags().Float64Var(&speed, "speed", 1, "how much faster than it was")
	cmd.Flags().DurationVar(&idleLimit, "idle-limit", 2*time.Second, "wait no longer than this where nothing happened; 0 waits as long as it was")
	cmd.Flags().BoolVar(&noTiming, "no-timing", false, "print everything at once")
	return cmd
}

var markerColumns = []column{{name: "AT"}, {name: "COMMAND"}, {name: "VERDICT", styled: true}, {name: "TEXT"}}

// markers lists what --from can name.
func (e *environment) markers(ctx context.Context, log *source, args []string, start play.Start) error {
	var rows [][]string
	_, v, err := e.read(ctx, log, args, nil, func(_ record.Meta, events []record.Event) error {
		for i := range events {
			if c := &events[i]; c.Kind == record.KindCommand && start.Reached(c) {
				rows = append(rows, []string{play.At(c), play.Number(c), c.Verdict, shorten(c.Text, 100)})
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	t := newTable(e.Out, e.paint, markerColumns, func(int, column) bool { return true })
	if err := t.print(rows); err != nil {
		return err
	}
	return broken(log.what(args), v)
}

func sleep(ctx context.Context, d time.Duration) error {
	_, err := play.NoKeys().Wait(ctx, d)
	return err
}
