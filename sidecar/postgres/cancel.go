package postgres

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/binary"
	"slices"
	"sync"
)

// Lengths of cancel keys by protocol version (protocol, "BackendKeyData").
const (
	keyLength30 = 4
	keyLength32 = 32
)

// cancels are the keys that were minted for the pod's sessions. Their secrets are ours alone: the server's own never
// leave the sidecar. The process id is the server's, which is no secret: a client may look for itself in
// pg_stat_activity by it, or ask who blocks it.
type cancels struct {
	mu       sync.Mutex // guards sessions
	sessions map[uint32][]*cancelKey
}

type cancelKey struct {
	key    []byte
	cancel func()
}

// mint makes a key for a session under the server's process id, 0 where the server gave none; several servers may
// give the same. forget takes it back.
func (c *cancels) mint(serverPID uint32, length int, cancel func()) (processID uint32, key []byte, forget func()) {
	k := &cancelKey{key: make([]byte, length), cancel: cancel}
	rand.Read(k.key)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sessions == nil {
		c.sessions = make(map[uint32][]*cancelKey)
	}
	for processID = serverPID; processID == 0; {
		var raw [4]byte
		rand.Read(raw[:])
		processID = binary.BigEndian.Uint32(raw[:]) & 0x7fffffff // clients print it as a signed number
	}
	c.sessions[processID] = append(c.sessions[processID], k)
	return processID, k.key, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		left := slices.DeleteFunc(slices.Clone(c.sessions[processID]), func(other *cancelKey) bool { return other == k })
		if c.sessions[processID] = left; len(left) == 0 {
			delete(c.sessions, processID)
		}
	}
}

// cancel does what a CancelRequest asks for, if its key is one of ours. Whoever sent it is not told, but can wait
// for the connection to be closed: the request is at the server by then.
func (c *cancels) cancel(processID uint32, key []byte) {
	c.mu.Lock()
	named := c.sessions[processID]
	c.mu.Unlock()
	for _, k := range named {
		if subtle.ConstantTimeCompare(k.key, key) == 1 {
			k.cancel()
			return
		}
	}
}
