package record

import (
	"crypto/sha256"
	"encoding/binary"
	"time"
)

// Meta is what is known of a log when it begins.
type Meta struct {
	// Log is unique for the pod's life: 16 random bytes in hexadecimal.
	Log      string `json:"log"`
	Target   string `json:"target"`
	Protocol string `json:"protocol"`
	// Policies are namespace/name.
	Policies []string  `json:"policies,omitempty"`
	Start    time.Time `json:"start"`
	// Terminal marks the log of one interactive terminal.
	Terminal bool   `json:"terminal,omitempty"`
	User     string `json:"user,omitempty"`

	// The operator adds the rest from what it knows of the pod; a sidecar's own words about it do not count.
	Recording      string `json:"recording,omitempty"` // the SessionRecording's name
	Namespace      string `json:"namespace,omitempty"`
	Pod            string `json:"pod,omitempty"`
	PodUID         string `json:"podUID,omitempty"`
	ServiceAccount string `json:"serviceAccount,omitempty"`
}

// Counts are a log's totals.
type Counts struct {
	Connections int64 `json:"connections,omitempty"`
	Commands    int64 `json:"commands,omitempty"`
	Denied      int64 `json:"denied,omitempty"`   // refused by a rule, by a person, or for want of a decision
	Approved    int64 `json:"approved,omitempty"` // approved by people
	Masked      int64 `json:"masked,omitempty"`   // values replaced
	Rows        int64 `json:"rows,omitempty"`
	Bytes       int64 `json:"bytes,omitempty"`
}

// add counts one event.
func (c *Counts) add(e *Event) {
	switch e.Kind {
	case KindConnect:
		c.Connections++
	case KindCommand:
		c.Commands++
		if e.Verdict == "Deny" {
			c.Denied++
		}
	case KindApproval:
		switch e.Decision {
		case "Approved":
			c.Approved++
		case "Denied", "Expired":
			c.Denied++
		}
	case KindResult:
		c.Rows += e.Rows
		c.Bytes += e.Bytes
		c.Masked += e.Masked
	}
}

const (
	// chunkSize is the text at which a chunk is cut: large enough to compress well, small enough that a sidecar
	// can hold it twice.
	chunkSize = 256 << 10
	// maxEvent bounds one event's text. Texts are bounded before they come here; what is longer is cut.
	maxEvent = 64 << 10
	// maxText is the most that a chunk may unpack to: text that was not enough for a chunk, then at once the
	// number of events missing, a connection's first event again, and another.
	maxText = chunkSize + 3*maxEvent
	// MaxPayload is the most that a chunk's payload may have: text that does not compress, and zstd's framing.
	MaxPayload = maxText + 16<<10
)

// Chunk is a piece of a log: events as JSON lines in one zstd frame, bound to the chunk before.
type Chunk struct {
	// Number counts from 0, without gaps.
	Number uint64
	// Previous is the Hash of the chunk before, empty for number 0; Hash is Sum over this one.
	Previous []byte
	Hash     []byte
	Payload  []byte
	// Counts are the log's totals with this chunk.
	Counts Counts
	// Last says that the log ends here; its last event is then a KindEnd.
	Last bool
}

// Sum is the hash of a chunk: SHA-256 over its number as eight bytes, big-endian, its predecessor's hash and its
// payload.
func Sum(number uint64, previous, payload []byte) [sha256.Size]byte {
	h := sha256.New()
	var n [8]byte
	binary.BigEndian.PutUint64(n[:], number)
	h.Write(n[:])
	h.Write(previous)
	h.Write(payload)
	var sum [sha256.Size]byte
	h.Sum(sum[:0])
	return sum
}
