package record

import (
	"fmt"
	"path"
	"strconv"
	"strings"
)

// The objects of a log in the bucket, below <namespace>/<pod uid>/<log>/. The operator writes them; everything
// that reads a log finds them by these names.
const (
	MetaObject = "meta.json" // Meta, JSON
	HeadObject = "head.json" // Head, JSON
	chunkExt   = ".jsonl.zst"
)

// Prefix is where the objects of a log are; it ends in a slash.
func Prefix(namespace, podUID, log string) string {
	return path.Join(namespace, podUID, log) + "/"
}

// ChunkObject is the name of a chunk's object behind the log's prefix; by name they are in order.
func ChunkObject(number uint64) string { return fmt.Sprintf("%08d%s", number, chunkExt) }

// ChunkNumber is the inverse of ChunkObject for the last element of an object's name.
func ChunkNumber(name string) (uint64, bool) {
	digits, ok := strings.CutSuffix(path.Base(name), chunkExt)
	if !ok || len(digits) < 8 {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	return n, err == nil && ChunkObject(n) == path.Base(name)
}

// ValidLogID tells whether a log's name is what a sidecar makes: 32 hexadecimal digits. The operator checks it
// before it becomes part of an object's name.
func ValidLogID(id string) bool {
	if len(id) != 32 {
		return false
	}
	for _, c := range []byte(id) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
