package kube

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// gone tells whether the peer has ended the connection, whatever of it is still unread.
func gone(conn net.Conn) bool {
	c, ok := conn.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return false
	}
	ended := false
	err = raw.Control(func(fd uintptr) {
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		ended = err == nil && info.State != unix.BPF_TCP_ESTABLISHED
	})
	return err == nil && ended
}
