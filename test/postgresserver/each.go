package postgresserver

import (
	"errors"
	"os"
	"testing"
)

// Each runs a test on every server that can be had, the oldest first, each started for it alone. Where EnvMajor
// names one, it runs on that alone.
func Each(t *testing.T, test func(t *testing.T, s *Server), settings ...string) {
	t.Helper()
	find := []func() (*Installation, error){Debian, Newest}
	if os.Getenv(EnvMajor) != "" {
		find = []func() (*Installation, error){Install}
	}
	for _, f := range find {
		in, err := f()
		if errors.Is(err, ErrUnavailable) {
			t.Run("the newest PostgreSQL", func(t *testing.T) { t.Skip(err) })
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Run(in.String(), func(t *testing.T) {
			s, err := in.Start(settings...)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := s.Stop(); err != nil {
					t.Error(err)
				}
			})
			test(t, s)
		})
	}
}
