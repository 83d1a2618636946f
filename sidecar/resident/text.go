// Package resident keeps the resident memory of the sidecar small.
package resident

import (
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Period is how often Keep gives pages back. What is mapped again is some thousand parts, by a fault of a microsecond each.
const Period = 10 * time.Second

// segment is a range of addresses that nobody writes to, of whole pages.
type segment struct{ from, to uint64 }

// Keep gives back the pages of the program's code and constants, at once and every Period, until ctx ends. What runs is
// mapped again as it is used, in small parts. The kernel itself takes no page from a process while the node has memory
// left, so that what a sidecar did once, in starting or with some command, would be resident for as long as it lives; and
// where the kernel maps a file by huge pages, nearly all of the program. Nothing is lost: the pages stay in the page
// cache, which is told of those that were used.
func Keep(ctx context.Context) error {
	text, err := divided()
	if err != nil {
		return err
	}
	ticker := time.NewTicker(Period)
	defer ticker.Stop()
	for {
		for _, s := range text {
			if err := s.advise(unix.MADV_DONTNEED); err != nil {
				return fmt.Errorf("giving back the program's pages: %w", err)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// divided finds the program's segments, and sees to it that they are mapped in small parts.
func divided() (text []segment, err error) {
	program, err := elf.Open("/proc/self/exe")
	if err != nil {
		return nil, fmt.Errorf("reading the program's segments: %w", err)
	}
	defer program.Close()
	if program.Type != elf.ET_EXEC {
		// Loaded at an address that the file does not say; the sidecar is not built like that.
		return nil, nil
	}
	page := uint64(os.Getpagesize())
	for _, p := range program.Progs {
		if p.Type != elf.PT_LOAD || p.Flags&elf.PF_W != 0 {
			continue
		}
		// Whole pages only: the last one may be shared with a segment that is written to.
		s := segment{(p.Vaddr + page - 1) &^ (page - 1), (p.Vaddr + p.Filesz) &^ (page - 1)}
		if s.from >= s.to {
			continue
		}
		s.divide()
		// A kernel without huge pages does not know this advice.
		if err := s.advise(unix.MADV_NOHUGEPAGE); err != nil && !errors.Is(err, unix.EINVAL) {
			return nil, fmt.Errorf("having the program's pages mapped one by one: %w", err)
		}
		text = append(text, s)
	}
	return text, nil
}

// part is the length of the mappings that the program's segments are divided into. The kernel has some 220 bytes for each
// mapping, which is 0.7 MiB for a program of 24 MiB.
const part = 8 << 10

// divide makes of a segment's mapping many small ones, by giving every other part a flag of its own (whether it belongs
// in a core dump, which a sidecar never writes). A page that is touched then brings in no more than its part's: since
// Linux 6.18 a fault maps the whole of what the page cache holds as one folio, up to 2 MiB, as far as it is within one
// mapping. A kernel that refuses leaves the sidecar larger, and nothing else.
func (s segment) divide() {
	for at := s.from &^ (2*part - 1); at < s.to; at += 2 * part {
		p := segment{max(at, s.from), min(at+part, s.to)}
		if p.from < p.to {
			_ = p.advise(unix.MADV_DONTDUMP)
		}
	}
}

func (s segment) advise(advice int) error {
	if _, _, errno := unix.Syscall(unix.SYS_MADVISE, uintptr(s.from), uintptr(s.to-s.from), uintptr(advice)); errno != 0 {
		return errno
	}
	return nil
}
