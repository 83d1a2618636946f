package command

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/chaperone-dev/chaperone/sidecar/record"
	"github.com/chaperone-dev/chaperone/sidecar/record/page"
)

// exporter writes a verified log in one format.
type exporter interface {
	Event(record.Event) error
	Finish(record.Verification) error
}

// exporters are the formats that are made of events; the log itself is copied as it is.
var exporters = map[string]func(e *environment, w io.Writer, meta record.Meta) exporter{
	"text":  func(_ *environment, w io.Writer, m record.Meta) exporter { return record.NewTimeline(w, m) },
	"jsonl": func(_ *environment, w io.Writer, _ record.Meta) exporter { return record.NewLines(w) },
	"html": func(e *environment, w io.Writer, m record.Meta) exporter {
		return &pageExporter{page.New(m), w, "kubectl chaperone " + e.version}
	},
	"asciicast": func(_ *environment, w io.Writer, m record.Meta) exporter { return record.NewAsciicast(w, m) },
}

// pageExporter writes the page when all of the log is there.
type pageExporter struct {
	*page.Page
	w  io.Writer
	by string
}

func (p *pageExporter) Finish(v record.Verification) error { return p.Write(p.w, v, p.by) }

// exportFormats are the names of the formats, in the order in which they are listed.
var exportFormats = []string{"asciicast", "jsonl", "text", "html", "log"}

func (e *environment) export() *cobra.Command {
	var log source
	var format, to string
	cmd := &cobra.Command{
		Use:   "export (NAME | --file FILE) --format FORMAT [-o FILE]",
		Short: "Write a recording to a file",
		Long: "Write a recording to a file:\n" +
			"  asciicast  a recorded terminal for asciinema (v3)\n" +
			"  jsonl      every event as JSON on a line\n" +
			"  text       the timeline that replay prints\n" +
			"  html       one page with all in it, which needs no network: the terminal in a player, or a timeline to search\n" +
			"  log        the log with its signature, to be kept: verify, replay and export read it with --file\n\n" +
			"Only what verifies is written. Of a recording that does not, text, html and log hold what can be trusted and say so;\n" +
			"the others, which cannot say it, are not written. What is masked in the recording is masked in every format.",
		Example: "  kubectl chaperone export shell-agent-bastion-p2m4t -n agents --format asciicast -o session.cast\n" +
			"  kubectl chaperone export billing-agent-billing-x7k2p -n agents --format jsonl | jq 'select(.verdict==\"Deny\").text'\n" +
			"  kubectl chaperone export billing-agent-billing-x7k2p -n agents --format log -o kept.log\n" +
			"  kubectl chaperone export billing-agent-billing-x7k2p -n agents -o review.html",
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: e.names(recordingNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			if format == "" {
				format = formatOf(to)
			}
			if exporters[format] == nil && format != "log" {
				if format == "" {
					return fmt.Errorf("--format is missing: %s are known", listing(exportFormats, "and"))
				}
				return fmt.Errorf("--format %s: unknown; %s are known", format, listing(exportFormats, "and"))
			}
			if to == "" || to == "-" {
				return e.write(cmd, &log, args, format, e.Out)
			}
			return replaceFile(to, func(w io.Writer) error { return e.write(cmd, &log, args, format, w) })
		},
	}
	log.bind(cmd)
	cmd.Flags().StringVar(&format, "format", "", listing(exportFormats, "or")+"; without it, by the file's extension")
	cmd.Flags().StringVarP(&to, "output", "o", "", "the file to write, which is replaced; standard output without it")
	_ = cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions(exportFormats, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// formatOf is the format that a file's extension means.
func formatOf(file string) string {
	return map[string]string{".cast": "asciicast", ".jsonl": "jsonl", ".txt": "text", ".html": "html", ".log": "log"}[strings.ToLower(filepath.Ext(file))]
}

// errPartly comes with a file that holds what could be trusted and says that it is not all.
type errPartly struct{ error }

func (e *environment) write(cmd *cobra.Command, log *source, args []string, format string, to io.Writer) (err error) {
	w := bufio.NewWriterSize(to, 64<<10)
	defer func() { err = errors.Join(err, w.Flush()) }()
	if format == "log" {
		_, v, err := e.read(cmd.Context(), log, args, w, nil)
		if err == nil && v.State == record.Broken {
			err = errPartly{broken(log.what(args), v)}
		}
		return err
	}
	var out exporter
	begin := func(m record.Meta) {
		if out == nil {
			out = exporters[format](e, w, m)
		}
	}
	meta, v, err := e.read(cmd.Context(), log, args, nil, func(m record.Meta, events []record.Event) error {
		begin(m)
		for i := range events {
			if err := out.Event(events[i]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	begin(meta)
	if err := out.Finish(v); err != nil {
		return fmt.Errorf("%s: %w", log.what(args), err)
	}
	if err := broken(log.what(args), v); err != nil {
		if format == "text" || format == "html" {
			return errPartly{err}
		}
		return err
	}
	return nil
}

// replaceFile writes a file beside its place and moves it there, so that there is either all of it or what was there
// before. Recordings are their reader's alone.
func replaceFile(name string, write func(io.Writer) error) error {
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+"-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	err = write(f)
	if closed := f.Close(); err == nil && closed != nil {
		err = closed
	}
	var partly errPartly
	if err != nil && !errors.As(err, &partly) {
		return fmt.Errorf("%w; %s was not written", err, name)
	}
	return errors.Join(err, os.Rename(f.Name(), name))
}
