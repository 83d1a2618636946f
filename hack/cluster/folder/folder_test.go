package folder

import (
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestAt(t *testing.T) {
	dir := t.TempDir()
	if _, err := At(filepath.Join(dir, strings.Repeat("x", 120)), ""); err == nil || !strings.Contains(err.Error(), Env) {
		t.Errorf("a folder too deep for a socket: got %v, want an error that names %s", err, Env)
	}
	a, errA := At(filepath.Join(dir, "a"), "")
	b, errB := At(filepath.Join(dir, "b"), "")
	if errA != nil || errB != nil {
		t.Fatal(errA, errB)
	}
	if a.Cgroup() == b.Cgroup() {
		t.Error("two clusters share a control group")
	}
	if again, err := At(filepath.Join(dir, "b", "..", "a"), ""); err != nil || again.Cgroup() != a.Cgroup() {
		t.Errorf("the same folder by another path has another control group (%v)", err)
	}
}

func TestFindWorksFromAnywhereInTheRepository(t *testing.T) {
	t.Setenv(Env, t.TempDir())
	for _, dir := range []string{".", "..", filepath.Join("..", "..", "..")} {
		t.Run(dir, func(t *testing.T) {
			t.Chdir(dir)
			f, err := Find()
			if err != nil {
				t.Fatal(err)
			}
			if filepath.Base(f.Source) != "cluster" {
				t.Errorf("the sources are in %s", f.Source)
			}
		})
	}
	t.Chdir(t.TempDir())
	if _, err := Find(); err == nil {
		t.Error("found a repository outside of one")
	}
}

func TestLockWaitsForItsRelease(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	release, err := Lock(path, func() { t.Error("the first had to wait") })
	if err != nil {
		t.Fatal(err)
	}
	waiting, locked := make(chan struct{}), make(chan error, 1)
	go func() {
		second, err := Lock(path, func() { close(waiting) })
		if err == nil {
			second()
		}
		locked <- err
	}()
	<-waiting
	select {
	case <-locked:
		t.Fatal("two hold the lock")
	case <-time.After(20 * time.Millisecond):
	}
	release()
	if err := <-locked; err != nil {
		t.Fatal(err)
	}
}
