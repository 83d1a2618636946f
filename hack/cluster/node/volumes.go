package node

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// openVolumes lets any user write to the volumes that the controller manager
// makes for claims: it makes them for root alone, and a path of the host is not
// given to a pod's fsGroup as other volumes are.
func (n Node) openVolumes(ctx context.Context) error {
	if err := os.MkdirAll(hostPathFolder, 0o755); err != nil {
		return fmt.Errorf("making the folder for volumes: %w", err)
	}
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return fmt.Errorf("watching the folder for volumes: %w", err)
	}
	if _, err := unix.InotifyAddWatch(fd, hostPathFolder, unix.IN_CREATE|unix.IN_ONLYDIR); err != nil {
		return fmt.Errorf("watching the folder for volumes: %w", err)
	}
	watch := os.NewFile(uintptr(fd), "volumes")
	go func() {
		<-ctx.Done()
		watch.Close()
	}()
	go func() {
		buffer := make([]byte, 64*(unix.SizeofInotifyEvent+unix.NAME_MAX+1))
		for {
			length, err := watch.Read(buffer)
			if err != nil {
				return
			}
			for _, name := range created(buffer[:length]) {
				if err := os.Chmod(filepath.Join(hostPathFolder, name), 0o777); err != nil {
					fmt.Fprintf(os.Stderr, "opening volume %s: %v\n", name, err)
				}
			}
		}
	}()
	return nil
}

// created reads the names from a buffer of inotify events (inotify(7)): a
// header whose last field is the length of the zero-padded name after it.
func created(events []byte) []string {
	var names []string
	for len(events) >= unix.SizeofInotifyEvent {
		length := int(binary.NativeEndian.Uint32(events[12:16]))
		end := unix.SizeofInotifyEvent + length
		if end > len(events) {
			break
		}
		names = append(names, strings.TrimRight(string(events[unix.SizeofInotifyEvent:end]), "\x00"))
		events = events[end:]
	}
	return names
}
