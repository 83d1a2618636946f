package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/chaperone-dev/chaperone/test/conformance/difference"
	"github.com/chaperone-dev/chaperone/test/postgresserver"
)

// Tests that send until nothing more is taken: how much that is, the sizes of buffers say. How they end counts.
var endless = map[string]bool{"uniqviol": true}

// Tests that send and read as the connection takes and gives: which comes first, the machine's speed says. What each
// direction carries counts, in its order.
var interleaved = map[string]bool{"pipelined_insert": true}

// byDirection sorts a trace of libpq (PQtrace, "F" from the client and "B" to it) by direction.
func byDirection(trace []byte) []byte {
	lines := bytes.SplitAfter(trace, []byte("\n"))
	slices.SortStableFunc(lines, func(a, b []byte) int { return bytes.Compare(a[:min(1, len(a))], b[:min(1, len(b))]) })
	return bytes.Join(lines, nil)
}

// runPipeline runs libpq_pipeline (src/test/modules/libpq_pipeline): each of its tests, its output, and libpq's
// trace of every message of both directions.
func runPipeline(ctx context.Context, b *bench) (difference.Report, error) {
	folder, err := b.built(ctx, "src/test/modules/libpq_pipeline")
	if err != nil {
		return nil, err
	}
	program := filepath.Join(folder, "libpq_pipeline")
	outputs := make(map[string]map[string]string) // by side, by test
	refused := make(map[string]map[string]struct{})
	err = b.both(func(s *side) error {
		out := make(map[string]string)
		outputs[s.name] = out
		listed, err := s.command(ctx, program, "tests").Output()
		if err != nil {
			return fmt.Errorf("libpq_pipeline tests: %w", err)
		}
		for _, test := range strings.Fields(string(listed)) {
			if b.only != nil && !slices.Contains(b.only, test) {
				continue
			}
			trace := filepath.Join(b.folder, "pipeline-"+s.name+"-"+test)
			ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
			said, err := s.command(ctx, program, "-r", "700", "-t", trace, test,
				fmt.Sprintf("host=127.0.0.1 port=%d user=%s dbname=postgres application_name=pipeline/%s", s.port, postgresserver.Superuser, test)).CombinedOutput()
			cancel()
			messages, rerr := os.ReadFile(trace)
			if rerr != nil && !os.IsNotExist(rerr) {
				return rerr
			}
			if endless[test] {
				said, messages = said[bytes.LastIndexByte(bytes.TrimSpace(said), '\n')+1:], nil
			}
			if interleaved[test] {
				messages = byDirection(messages)
			}
			out[test] = fmt.Sprintf("%s\n%v\n%s", said, err, messages)
			if s.sidecar != nil {
				refused[test] = s.refused("pipeline/" + test)
			}
			if err := os.WriteFile(trace, []byte(out[test]), 0o644); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	out := make(difference.Report)
	for test, said := range outputs["direct"] {
		out[test] = difference.Result{Differs: said != outputs["sidecar"][test], Refusals: refused[test]}
	}
	return out, nil
}
