package main

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"k8s.io/client-go/rest"

	"github.com/chaperone-dev/chaperone/test/conformance/difference"
)

// program is what a program that is built on client-go does; it returns what there is to compare.
type program struct {
	name string
	run  func(ctx context.Context, config *rest.Config, namespace string) (string, error)
}

// runClientGo runs the programs one after another, each on both sides at once.
func runClientGo(ctx context.Context, l *lab) (difference.Report, error) {
	if err := l.startRunner(ctx); err != nil {
		return nil, err
	}
	out := make(difference.Report)
	for _, p := range programs {
		if !strings.Contains(p.name, l.only) {
			continue
		}
		var transcripts [2]string
		var both sync.WaitGroup
		for i, s := range []*side{l.direct, l.through} {
			both.Go(func() {
				ctx, cancel := context.WithTimeout(ctx, patience)
				defer cancel()
				text, err := p.run(ctx, rest.CopyConfig(s.config), s.namespace)
				if err != nil {
					text += "error: " + err.Error()
				}
				transcripts[i] = ended(s.normalise(text))
			})
		}
		both.Wait()
		out[p.name] = l.judge(p.name, transcripts[0], transcripts[1])
		if transcripts[0] == "" || strings.Contains(transcripts[0], "error: ") {
			return nil, fmt.Errorf("%s does not work past the sidecar: %s", p.name, transcripts[0])
		}
	}
	return out, nil
}
