package confine

import (
	"errors"
	"strconv"
	"strings"
)

// sizeOf reads VmData of proc_pid_status(5).
func sizeOf(status []byte) (uint64, error) {
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmData:"); ok {
			kib, err := strconv.ParseUint(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 32)
			return kib << 10, err
		}
	}
	return 0, errors.New("it has no VmData")
}
