package record

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
)

// A process records, is killed at a random moment, and another takes over its spool, several times. What the
// operator had acknowledged must be in its logs, and each log must verify.
const killEnv = "CHAPERONE_RECORD_KILLED_IN"

func TestMain(m *testing.M) {
	if dir := os.Getenv(killEnv); dir != "" {
		if err := recordUntilKilled(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// fileUplink is an operator whose bucket is a directory.
type fileUplink struct{ dir string }

func (u fileUplink) Open(ctx context.Context, meta Meta) (Stream, error) {
	s := &fileStream{ctx: ctx, dir: filepath.Join(u.dir, meta.Log), acks: make(chan uint64, 100)}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return nil, err
	}
	numbers, err := chainFiles{dir: s.dir}.numbers()
	if err != nil {
		return nil, err
	}
	s.acks <- uint64(len(numbers))
	return s, nil
}

type fileStream struct {
	ctx  context.Context
	dir  string
	acks chan uint64
}

func (s *fileStream) Send(c Chunk) error {
	frame, err := AppendChunk(nil, &c)
	if err == nil {
		err = chainFiles{dir: s.dir}.write(c.Number, frame)
	}
	if err == nil {
		s.acks <- c.Number + 1
	}
	return err
}

func (s *fileStream) Recv() (uint64, string, error) {
	select {
	case next := <-s.acks:
		return next, "", nil
	case <-s.ctx.Done():
		return 0, "", s.ctx.Err()
	}
}

func (*fileStream) Close() error { return nil }

func recordUntilKilled(dir string) error {
	s, err := Open(Options{
		Dir: filepath.Join(dir, "spool"), Budget: 16 << 20, Uplink: fileUplink{filepath.Join(dir, "bucket")}, Log: logr.Discard(),
	})
	if err != nil {
		return err
	}
	c := s.Log(LogOptions{Target: "t", OnFailure: policy.Block}).Recorder()
	for n := 1; ; n++ {
		if err := c.Record(Event{Kind: KindCommand, Text: strconv.Itoa(os.Getpid()) + "/" + strconv.Itoa(n)}); err != nil {
			return err
		}
		if n == 1 {
			fmt.Println("begun")
		}
		if n%20 == 0 {
			if err := c.Flush(context.Background()); err != nil {
				return err
			}
			fmt.Printf("flushed %d/%d\n", os.Getpid(), n)
		}
	}
}

func TestASidecarThatIsKilledLosesNothingThatWasAcknowledged(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "bucket"), 0o700); err != nil {
		t.Fatal(err)
	}
	acknowledged := map[string]int{} // by process
	const lives = 6
	for range lives {
		killOne(t, dir, acknowledged)
	}
	s, err := Open(Options{Dir: filepath.Join(dir, "spool"), Budget: 16 << 20, Uplink: fileUplink{filepath.Join(dir, "bucket")}, Log: logr.Discard()})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(testContext(t)); err != nil {
		t.Fatal(err)
	}
	logs, err := os.ReadDir(filepath.Join(dir, "bucket"))
	if err != nil {
		t.Fatal(err)
	}
	if len(logs) != lives {
		t.Errorf("%d lives left %d logs", lives, len(logs))
	}
	for _, log := range logs {
		pid, commands := readBucket(t, filepath.Join(dir, "bucket", log.Name()))
		if commands < acknowledged[pid] {
			t.Errorf("process %s: %d commands were acknowledged, %d are there", pid, acknowledged[pid], commands)
		}
	}
}

func killOne(t *testing.T, dir string, acknowledged map[string]int) {
	t.Helper()
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), killEnv+"="+dir)
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	lines.Scan()
	time.AfterFunc(rand.N(200*time.Millisecond), func() { _ = child.Process.Kill() })
	for lines.Scan() {
		text, ok := strings.CutPrefix(lines.Text(), "flushed ")
		pid, count, _ := strings.Cut(text, "/")
		if n, err := strconv.Atoi(count); ok && err == nil {
			acknowledged[pid] = n
		}
	}
	if err := child.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Fatalf("the process ended by itself: %v", err)
	}
}

// readBucket verifies a log and returns whose it is, and how many commands without a gap.
func readBucket(t *testing.T, dir string) (pid string, commands int) {
	t.Helper()
	files := chainFiles{dir: dir}
	numbers, err := files.numbers()
	if err != nil {
		t.Fatal(err)
	}
	var v Verifier
	for _, n := range numbers {
		c, err := files.read(n)
		if err != nil {
			t.Fatal(err)
		}
		if err := v.Add(c); err != nil {
			t.Fatal(err)
		}
		for e, err := range Events(c.Payload) {
			if err != nil {
				t.Fatal(err)
			}
			if e.Kind != KindCommand {
				continue
			}
			commands++
			var number string
			pid, number, _ = strings.Cut(e.Text, "/")
			if number != strconv.Itoa(commands) {
				t.Fatalf("command %d is %s", commands, e.Text)
			}
		}
	}
	if ended, reason := v.Ended(); !ended || reason != stopped {
		t.Errorf("the log ends with %v %q", ended, reason)
	}
	return pid, commands
}
