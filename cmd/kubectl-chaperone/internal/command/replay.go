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
		key       string
		speed     float64
		idleLimit time.Duration
		noTiming  bool
	)
	cmd := &cobra.Command{
		Use:   "replay NAME",
		Short: "Show what an agent did",
		Long: "Show what an agent did: every command, what was decided and why, who approved it and what came back; of a\n" +
			"recorded terminal, the terminal as it was. Only what verifies is shown, and the end says how far that is.\n\n" +
			"A terminal plays at its own pace; anything else is printed at once, unless --speed is given.",
		Example: "  kubectl chaperone replay billing-agent-billing-x7k2p -n agents\n" +
			"  kubectl chaperone replay shell-agent-bastion-p2m4t -n agents --speed 4 --idle-limit 1s",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: e.names(recordingNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			if speed <= 0 {
				return fmt.Errorf("--speed %v: must be more than 0", speed)
			}
			keys, err := trustedKeys(key)
			if err != nil {
				return err
			}
			c, err := e.connect()
			if err != nil {
				return err
			}
			log, err := c.Log(cmd.Context(), c.Namespace, args[0])
			if err != nil {
				return err
			}
			defer log.Close()
			player := play.New(e.Out, e.ErrOut, play.Options{
				Speed: speed, IdleLimit: idleLimit, Sleep: sleep,
				Timing: func(terminal bool) bool {
					return !noTiming && (cmd.Flags().Changed("speed") || terminal && isTerminal(e.Out))
				},
			})
			meta, v, err := record.Verify(log, func(m record.Meta, _ *record.Chunk, events []record.Event) error {
				return player.Play(cmd.Context(), m, events)
			}, keys...)
			if err != nil {
				return errors.Join(err, player.Stop())
			}
			if err := player.Finish(meta, v); err != nil {
				return err
			}
			if v.State == record.Broken {
				return fmt.Errorf("recording %s does not verify", args[0])
			}
			return nil
		},
	}
	cmd.Flags().Float64Var(&speed, "speed", 1, "how much faster than it was")
	cmd.Flags().DurationVar(&idleLimit, "idle-limit", 2*time.Second, "wait no longer than this where nothing happened; 0 waits as long as it was")
	cmd.Flags().BoolVar(&noTiming, "no-timing", false, "print everything at once")
	cmd.Flags().StringVar(&key, "key", "", keyUsage)
	return cmd
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
