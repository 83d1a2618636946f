package naming

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"
	"time"
)

// targetForm is a target's name, or several joined by + where policies share a destination.
var targetForm = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\+[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)

// maxTarget is the names of a few policies' targets.
const maxTarget = 253

// Target tells whether the text can be the name of a destination.
func Target(name string) bool { return len(name) <= maxTarget && targetForm.MatchString(name) }

// Recording names a SessionRecording: who, where and in which hour; the log's own name makes it unique. The target
// must be one.
func Recording(pod, target string, start time.Time, log string) string {
	return fmt.Sprintf("%s-%s-%s-%s", shorten(pod, 100), shorten(strings.ReplaceAll(target, "+", "."), 80), start.UTC().Format("2006010215"), log[:8])
}

// Request names an ApprovalRequest, short enough to be typed. key is equal for identical requests, which number tells
// apart where the ones before are decided.
func Request(pod, key string, number int) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s/%d", key, number))
	return shorten(pod, 50) + "-" + hex.EncodeToString(sum[:4])
}

// Label makes a label's value of the name of an object or a target, which may be longer than the 63 characters of
// one.
func Label(name string) string { return shorten(strings.ReplaceAll(name, "+", "."), 63) }

// shorten cuts a name so that another part can follow it.
func shorten(name string, most int) string {
	if len(name) > most {
		name = name[:most]
	}
	return strings.TrimRight(name, "-.")
}
