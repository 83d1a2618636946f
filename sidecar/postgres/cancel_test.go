package postgres

import "testing"

func TestMintedKeys(t *testing.T) {
	t.Run("sessions of two servers under one process id are told apart by their secrets", func(t *testing.T) {
		var c cancels
		hits := [2]int{}
		pid, first, forget := c.mint(7, keyLength30, func() { hits[0]++ })
		other, second, _ := c.mint(7, keyLength32, func() { hits[1]++ })
		if pid != 7 || other != 7 {
			t.Fatalf("process ids %d and %d", pid, other)
		}
		c.cancel(7, second)
		c.cancel(7, first)
		forget()
		c.cancel(7, first)
		c.cancel(7, second)
		if hits != [2]int{1, 2} {
			t.Fatalf("cancelled %v", hits)
		}
	})
	t.Run("a session whose server gave no process id has one of ours", func(t *testing.T) {
		var c cancels
		hits := 0
		pid, key, forget := c.mint(0, keyLength30, func() { hits++ })
		if pid == 0 || int32(pid) < 0 {
			t.Fatalf("process id %d", pid)
		}
		c.cancel(pid, key[:3])
		c.cancel(pid, key)
		forget()
		c.cancel(pid, key)
		if hits != 1 || len(c.sessions) != 0 {
			t.Fatalf("cancelled %d times, %d keys left", hits, len(c.sessions))
		}
	})
}
