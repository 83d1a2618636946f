package postgres

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/binary"
	"sync"
)

// Lengths of cancel keys by protocol version (protocol, "BackendKeyData").
const (
	keyLength30 = 4
	keyLength32 = 32
)

// cancels are the keys that were minted for the pod's sessions. They are ours alone: the server's own never
// leave the sidecar.
type cancels struct {
	mu       sync.Mutex // guards sessions
	sessions map[uint32]*cancelKey
}

type cancelKey struct {
	key    []byte
	cancel func()
}

// mint makes a key for a session; forget takes it back.
func (c *cancels) mint(length int, cancel func()) (processID uint32, key []byte, forget func()) {
	key = make([]byte, length)
	rand.Read(key)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sessions == nil {
		c.sessions = make(map[uint32]*cancelKey)
	}
	for {
		var raw [4]byte
		rand.Read(raw[:])
		processID = binary.BigEndian.Uint32(raw[:]) & 0x7fffffff // clients print it as a signed number
		if _, taken := c.sessions[processID]; !taken && processID != 0 {
			break
		}
	}
	c.sessions[processID] = &cancelKey{key, cancel}
	return processID, key, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.sessions, processID)
	}
}

// cancel does what a CancelRequest asks for, if its key is one of ours. Whoever sent it is not told, but can wait
// for the connection to be closed: the request is at the server by then.
func (c *cancels) cancel(processID uint32, key []byte) {
	c.mu.Lock()
	k := c.sessions[processID]
	c.mu.Unlock()
	if k != nil && subtle.ConstantTimeCompare(k.key, key) == 1 {
		k.cancel()
	}
}
