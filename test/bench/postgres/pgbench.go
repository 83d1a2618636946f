package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

var tps = regexp.MustCompile(`(?m)^tps = ([0-9.]+)`)

// runPgbench runs PostgreSQL's own benchmark for a whole number of seconds, or fewer transactions where the turn is
// shorter than one.
func (l *lab) runPgbench(ctx context.Context, c *benchCase, dsn string, turn time.Duration) (sample, int, error) {
	logs, err := os.MkdirTemp("", "chaperone-bench-")
	if err != nil {
		return sample{}, 0, err
	}
	defer os.RemoveAll(logs)
	if err := os.Chmod(logs, 0o777); err != nil { // pgbench runs as the server's user
		return sample{}, 0, err
	}
	args := append([]string{"-n", "-c", strconv.Itoa(c.clients), "-j", strconv.Itoa(min(c.clients, 2)), "-l", "--log-prefix", filepath.Join(logs, "l")}, c.pgbench...)
	args = append(args, "-t", strconv.Itoa(transactions(c, turn)), dsn)
	cmd := l.server.Command("pgbench", args...)
	done := make(chan struct{})
	defer close(done)
	go func() {
		select {
		case <-ctx.Done():
			if cmd.Process != nil {
				_ = cmd.Process.Kill()
			}
		case <-done:
		}
	}()
	out, err := cmd.CombinedOutput()
	if err != nil {
		return sample{}, 0, fmt.Errorf("pgbench: %w: %s", err, out)
	}
	m := tps.FindSubmatch(out)
	if m == nil {
		return sample{}, 0, fmt.Errorf("pgbench said nothing of its speed: %s", out)
	}
	var s sample
	if s.perSecond, err = strconv.ParseFloat(string(m[1]), 64); err != nil {
		return sample{}, 0, err
	}
	latencies, err := readLatencies(logs)
	if err != nil {
		return sample{}, 0, err
	}
	s.percentiles(latencies)
	return s, len(latencies), nil
}

// transactions is how many each client does in about the turn: pgbench's own -T counts whole seconds, and a fixed
// number lets all peers do the same work.
func transactions(c *benchCase, turn time.Duration) int {
	perSecond := 8000.0 // over all clients, on two processors
	if slices.Contains(c.pgbench, "-C") {
		perSecond = 200
	}
	return max(20, int(perSecond*turn.Seconds())/c.clients)
}

// readLatencies reads the logs of pgbench's threads: client, transaction, microseconds, …
func readLatencies(folder string) (all []time.Duration, err error) {
	names, err := filepath.Glob(filepath.Join(folder, "l.*"))
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		for lines := bufio.NewScanner(f); lines.Scan(); {
			fields := strings.Fields(lines.Text())
			if len(fields) < 3 {
				continue
			}
			us, err := strconv.ParseInt(fields[2], 10, 64)
			if err != nil {
				f.Close()
				return nil, fmt.Errorf("a latency of pgbench: %w", err)
			}
			all = append(all, time.Duration(us)*time.Microsecond)
		}
		f.Close()
	}
	if len(all) == 0 {
		return nil, errors.New("pgbench logged no transaction")
	}
	return all, nil
}

// percentiles fills in p50 and p99.
func (s *sample) percentiles(latencies []time.Duration) {
	slices.Sort(latencies)
	s.p50 = latencies[len(latencies)/2]
	s.p99 = latencies[len(latencies)*99/100]
}
