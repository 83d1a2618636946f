package supervisor

import (
	"os"
	"strings"
	"testing"

	"github.com/chaperone-dev/chaperone/hack/cluster/folder"
)

func TestRunningIsWhoHoldsTheLock(t *testing.T) {
	f := folder.Folder{Root: t.TempDir()}
	expect := func(when string, want int) {
		t.Helper()
		if got, err := Running(f); err != nil || got != want {
			t.Errorf("%s: process %d and %v, want %d", when, got, err, want)
		}
	}
	expect("before the first start", 0)
	lock, err := lockRun(f)
	if err != nil {
		t.Fatal(err)
	}
	expect("while it runs", os.Getpid())
	if _, err := lockRun(f); err == nil || !strings.Contains(err.Error(), "running already") {
		t.Errorf("a second start: got %v", err)
	}
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	expect("after it ended, its number still in the file", 0)
}

func TestFailureShowsTheEndOfTheRightLog(t *testing.T) {
	f := folder.Folder{Root: t.TempDir()}
	for path, text := range map[string]string{
		f.State("failure"): "etcd\netcd does not run: exit status 1",
		f.Log("etcd"):      strings.Repeat("old\n", 100) + "bind: address already in use\n",
	} {
		if err := os.MkdirAll(path[:strings.LastIndex(path, "/")], 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got := failure(f).Error()
	for _, want := range []string{"etcd does not run", "address already in use", f.Log("etcd")} {
		if !strings.Contains(got, want) {
			t.Errorf("the failure does not say %q:\n%s", want, got)
		}
	}
	if n := strings.Count(got, "\n"); n > logTail+3 {
		t.Errorf("the failure is %d lines long", n)
	}
}
