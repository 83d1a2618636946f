//go:build !linux

package postgres

import (
	"context"
	"net"
)

// eventLoop exists on Linux alone; elsewhere goroutines run every session.
type eventLoop struct{}

type looped struct{}

func (*Protocol) adopt(*driver, net.Conn, net.Conn) *looped { return nil }
func (*looped) run(context.Context) error                   { return nil }
func (*looped) cancelled()                                  {}
