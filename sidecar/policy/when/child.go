package when

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/chaperone-dev/chaperone/sidecar/policy/when/wire"
	"github.com/chaperone-dev/chaperone/sidecar/process"
)

// environment is all that the program gets of ours: nothing. It shares the container's memory limit; a condition
// over a large statement takes a few MiB beside the evaluator's ten.
var environment = []string{"GOMAXPROCS=1", "GOMEMLIMIT=32MiB"}

// patience is how long a child may take to end: at its own will, then by force.
const patience = time.Second

// child is a run of the program.
type child struct {
	pid     int
	in, out *os.File // our ends of its standard input and output
	kill    context.CancelFunc
	ended   chan struct{}
	status  error // how it ended, once ended is closed
}

func start(program string) (*child, error) {
	theirIn, in, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	out, theirOut, err := os.Pipe()
	if err != nil {
		theirIn.Close()
		in.Close()
		return nil, err
	}
	ctx, kill := context.WithCancel(context.Background())
	c := &child{in: in, out: out, kill: kill, ended: make(chan struct{})}
	cmd := exec.CommandContext(ctx, program) //nolint:gosec // the path is a constant of the layout
	cmd.Env, cmd.Dir = environment, "/"
	cmd.Stdin, cmd.Stdout = theirIn, theirOut
	ended, err := process.Start(cmd)
	theirIn.Close()
	theirOut.Close()
	if err != nil {
		c.release()
		return nil, err
	}
	c.pid = cmd.Process.Pid
	go func() {
		c.status = <-ended
		close(c.ended)
	}()
	return c, nil
}

func (c *child) alive() bool {
	select {
	case <-c.ended:
		return false
	default:
		return true
	}
}

// exchange sends a request and reads its answer.
func (c *child) exchange(frame []byte, within time.Duration) (wire.Answer, error) {
	var answer wire.Answer
	deadline := time.Now().Add(within)
	if err := errors.Join(c.in.SetWriteDeadline(deadline), c.out.SetReadDeadline(deadline)); err != nil {
		return answer, err
	}
	_, err := c.in.Write(frame)
	if err == nil {
		err = wire.Read(c.out, wire.MaxAnswer, &answer)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = fmt.Errorf("no answer within %s", within)
	}
	return answer, err
}

// fail kills a child that did not answer as it must, and says how it ended where it did so by itself.
func (c *child) fail(why error) error {
	gone := errors.Is(why, io.EOF) || errors.Is(why, syscall.EPIPE)
	if gone {
		c.wait()
	}
	c.release()
	if c.wait() && gone && c.status != nil {
		return fmt.Errorf("it ended: %w", c.status)
	}
	return why
}

// end lets the child end by itself, as it does when its input ends.
func (c *child) end() {
	c.in.Close()
	c.wait()
	c.release()
}

// wait waits for the child's end, but not for long.
func (c *child) wait() bool {
	select {
	case <-c.ended:
		return true
	case <-time.After(patience):
		return false
	}
}

// release kills the child if it still runs.
func (c *child) release() {
	c.kill()
	c.in.Close()
	c.out.Close()
}
