package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/chaperone-dev/chaperone/sidecar/record"
)

// source is a log to read: of a recording in the cluster, or of a file that was kept.
type source struct {
	key, file string
	// check asks the cluster for the operator's keys where no file has them.
	check bool
}

func (s *source) bind(cmd *cobra.Command) {
	cmd.Flags().StringVar(&s.key, "key", "", keyUsage)
	cmd.Flags().StringVar(&s.file, "file", "", "read a log that was kept (export --format log) instead of asking the cluster")
}

// what names the log for people.
func (s *source) what(args []string) string {
	if s.file != "" {
		return "file " + s.file
	}
	return "recording " + args[0]
}

// read verifies the log and gives each verified chunk's events to each, which may be nil; raw, which may be nil, gets
// the log as it comes.
func (e *environment) read(ctx context.Context, s *source, args []string, raw io.Writer, each func(record.Meta, []record.Event) error) (record.Meta, record.Verification, error) {
	if (len(args) == 1) == (s.file != "") {
		return record.Meta{}, record.Verification{}, errors.New("name either a recording or, with --file, a file; kubectl chaperone recordings lists the recordings")
	}
	keys, err := trustedKeys(s.key)
	if err != nil {
		return record.Meta{}, record.Verification{}, err
	}
	// The keys after the log, which is opened and not yet read: a key that signed it is in the set by then.
	log, err := e.openLog(ctx, args, s.file)
	if err != nil {
		return record.Meta{}, record.Verification{}, err
	}
	defer log.Close()
	if s.check && s.key == "" {
		if keys, err = e.publishedKeys(ctx); err != nil {
			return record.Meta{}, record.Verification{}, fmt.Errorf("%w; --key FILE names a file of the operator's keys instead", err)
		}
	}
	var in io.Reader = log
	if raw != nil {
		in = io.TeeReader(log, raw)
	}
	meta, v, err := record.Verify(in, func(m record.Meta, _ *record.Chunk, events []record.Event) error {
		if each == nil {
			return nil
		}
		return each(m, events)
	}, keys...)
	return meta, v, err
}

func (e *environment) openLog(ctx context.Context, args []string, file string) (io.ReadCloser, error) {
	if file != "" {
		return os.Open(file)
	}
	c, err := e.connect()
	if err != nil {
		return nil, err
	}
	return c.Log(ctx, c.Namespace, args[0])
}

// broken is what a verb that shows a log ends with when it does not verify.
func broken(what string, v record.Verification) error {
	if v.State != record.Broken {
		return nil
	}
	return fmt.Errorf("%s does not verify: what is shown was not changed, what follows it is missing or cannot be trusted", what)
}
