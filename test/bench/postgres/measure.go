package main

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// result is what all peers did in all rounds of a case, by the peer's name.
type result struct {
	of     *benchCase
	rounds map[string][]sample
}

// measure lets all peers take turns, in another order each round.
func (l *lab) measure(ctx context.Context, c *benchCase, o *options) (result, error) {
	r := result{of: c, rounds: map[string][]sample{}}
	peers := slices.Clone(l.peers(c.tls))
	for range o.Rounds {
		for _, p := range peers {
			s, err := l.sample(ctx, c, p, o.turn)
			if err != nil {
				return r, fmt.Errorf("%s: %w", p.name, err)
			}
			r.rounds[p.name] = append(r.rounds[p.name], s)
		}
		peers = append(peers[1:], peers[0])
	}
	return r, nil
}

// sample is one peer's turn.
func (l *lab) sample(ctx context.Context, c *benchCase, p *peer, turn time.Duration) (sample, error) {
	var before time.Duration
	var err error
	if p.process != nil {
		p.process.ForgetPeak()
		if before, err = p.process.Processor(); err != nil {
			return sample{}, err
		}
	}
	run := runReader
	if len(c.pgbench) > 0 {
		run = l.runPgbench
	}
	s, queries, err := run(ctx, c, l.dsn(p, c.tls), turn)
	if err != nil || p.process == nil {
		return s, err
	}
	after, err := p.process.Processor()
	if err != nil {
		return s, err
	}
	s.processor = (after - before) / time.Duration(queries)
	s.resident, err = p.process.Peak()
	return s, err
}

// median takes the middle of what value says of each sample.
func (r *result) median(peer string, value func(sample) float64) float64 {
	var all []float64
	for _, s := range r.rounds[peer] {
		all = append(all, value(s))
	}
	return middle(all)
}

// ratio is the median, over the rounds, of one peer's throughput to another's.
func (r *result) ratio(peer, to string) float64 {
	var all []float64
	for i, s := range r.rounds[peer] {
		all = append(all, s.perSecond/r.rounds[to][i].perSecond)
	}
	return middle(all)
}

// added is the median, over the rounds, of what the peer adds to a percentile of the direct way, in microseconds.
func (r *result) added(peer string, percentile func(sample) time.Duration) float64 {
	var all []float64
	for i, s := range r.rounds[peer] {
		all = append(all, float64((percentile(s)-percentile(r.rounds["direct"][i])).Nanoseconds())/1e3)
	}
	return middle(all)
}

func middle(all []float64) float64 {
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[len(all)/2]
}
