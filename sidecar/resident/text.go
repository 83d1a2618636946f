// Package resident keeps the resident memory of the sidecar small.
package resident

import (
	"debug/elf"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// ForgetText gives back the pages of the program's code and constants that starting up has touched, which is nearly
// all of them where the kernel maps a file by huge pages; what runs is mapped again as it is used, in small ones.
// Nothing is lost: only segments that nobody writes to are given back, and their pages stay in the page cache. It
// makes the resident size of an idle sidecar some 10 MiB smaller.
func ForgetText() error {
	program, err := elf.Open("/proc/self/exe")
	if err != nil {
		return fmt.Errorf("reading the program's segments: %w", err)
	}
	defer program.Close()
	if program.Type != elf.ET_EXEC {
		// Loaded at an address that the file does not say; the sidecar is not built like that.
		return nil
	}
	page := uint64(os.Getpagesize())
	for _, s := range program.Progs {
		if s.Type != elf.PT_LOAD || s.Flags&elf.PF_W != 0 {
			continue
		}
		// Whole pages only: the last one may be shared with a segment that is written to.
		from, to := (s.Vaddr+page-1)&^(page-1), (s.Vaddr+s.Filesz)&^(page-1)
		if from >= to {
			continue
		}
		divide(from, to)
		for _, advice := range []int{unix.MADV_NOHUGEPAGE, unix.MADV_DONTNEED} {
			_, _, errno := unix.Syscall(unix.SYS_MADVISE, uintptr(from), uintptr(to-from), uintptr(advice))
			// A kernel without huge pages does not know the first advice.
			if errno != 0 && errno != unix.EINVAL {
				return fmt.Errorf("giving back the program's pages: %w", errno)
			}
		}
	}
	return nil
}

// part is the length of the mappings that the program's segments are divided into.
const part = 16 << 10

// divide makes of a segment's mapping many small ones, by giving every other part a flag of its own (whether it belongs
// in a core dump, which a sidecar never writes). A page that is touched then brings in no more than its part's: since
// Linux 6.18 a fault maps the whole of what the page cache holds as one folio, up to 2 MiB, as far as it is within one
// mapping. A kernel that refuses leaves the sidecar larger, and nothing else.
func divide(from, to uint64) {
	for at := from &^ (2*part - 1); at < to; at += 2 * part {
		begin, end := max(at, from), min(at+part, to)
		if begin < end {
			_, _, _ = unix.Syscall(unix.SYS_MADVISE, uintptr(begin), uintptr(end-begin), unix.MADV_DONTDUMP)
		}
	}
}
