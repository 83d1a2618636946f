package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/chaperone-dev/chaperone/test/bench/process"
)

func main() { process.Main(5, bench) }

// bench sets everything up, runs the cases and returns the table.
func bench(ctx context.Context, o *process.Options) (text string, err error) {
	l, err := newLab(ctx, o)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	text = fmt.Sprintf("%s; %d rounds; `%s`\n\n", process.Machine(), o.Rounds, process.Command("ssh")) + process.Heading
	ran := false
	for _, c := range cases {
		if !o.Run.MatchString(c.name) {
			continue
		}
		row, err := l.measure(c, o)
		if err != nil {
			return "", fmt.Errorf("%s: %w", c.name, err)
		}
		fmt.Fprintln(os.Stderr, row)
		text += row + "\n"
		ran = true
	}
	if o.Run.MatchString("memory") {
		memory, err := l.memory(o)
		if err != nil {
			return "", fmt.Errorf("memory: %w", err)
		}
		text += "\n" + memory + "\n"
		ran = true
	}
	if !ran {
		return "", errors.New("no case has such a name")
	}
	return text, nil
}
