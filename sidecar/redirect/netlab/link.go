package netlab

import (
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

const (
	podLink     = "pod0"
	outsideLink = "outside0"
)

// wire makes the veth pair, gives both ends addresses and routes, and opens the sniffer.
func (l *Lab) wire() error {
	if err := addVeth(l.outside); err != nil {
		return fmt.Errorf("making the link: %w", err)
	}
	pod := []step{
		up("lo"), up(podLink),
		address(podLink, netip.PrefixFrom(Pod4, 24)), address(podLink, netip.PrefixFrom(Pod6, 64)),
		gateway(Node4), gateway(Node6),
	}
	outside := []step{
		up("lo"), up(outsideLink),
		address(outsideLink, netip.PrefixFrom(Node4, 24)), address(outsideLink, netip.PrefixFrom(Node6, 64)),
	}
	for _, a := range []netip.Addr{Host4, Other4, Host6, Metadata4, Resolver4, Metadata6} {
		outside = append(outside, address("lo", netip.PrefixFrom(a, a.BitLen())))
	}
	if err := perform(pod); err != nil {
		return fmt.Errorf("in the pod: %w", err)
	}
	return l.enter(func() error {
		if err := perform(outside); err != nil {
			return fmt.Errorf("outside: %w", err)
		}
		return l.sniff()
	})
}

type step func(*netlink.Conn) error

func perform(steps []step) error {
	c, err := netlink.Dial(unix.NETLINK_ROUTE, nil)
	if err != nil {
		return err
	}
	defer c.Close()
	for _, s := range steps {
		if err := s(c); err != nil {
			return err
		}
	}
	return nil
}

func request(c *netlink.Conn, kind uint16, flags netlink.HeaderFlags, head []byte, attributes func(*netlink.AttributeEncoder)) error {
	e := netlink.NewAttributeEncoder()
	attributes(e)
	tail, err := e.Encode()
	if err != nil {
		return err
	}
	_, err = c.Execute(netlink.Message{
		Header: netlink.Header{Type: netlink.HeaderType(kind), Flags: netlink.Request | netlink.Acknowledge | flags},
		Data:   append(head, tail...),
	})
	return err
}

const vethPeer = 1 // VETH_INFO_PEER, linux/veth.h

func addVeth(outside int) error {
	return perform([]step{func(c *netlink.Conn) error {
		return request(c, unix.RTM_NEWLINK, netlink.Create|netlink.Excl, make([]byte, unix.SizeofIfInfomsg), func(e *netlink.AttributeEncoder) {
			e.String(unix.IFLA_IFNAME, podLink)
			e.Nested(unix.IFLA_LINKINFO, func(e *netlink.AttributeEncoder) error {
				e.String(unix.IFLA_INFO_KIND, "veth")
				e.Nested(unix.IFLA_INFO_DATA, func(e *netlink.AttributeEncoder) error {
					e.Do(vethPeer, func() ([]byte, error) {
						peer := netlink.NewAttributeEncoder()
						peer.String(unix.IFLA_IFNAME, outsideLink)
						peer.Uint32(unix.IFLA_NET_NS_FD, uint32(outside))
						b, err := peer.Encode()
						return append(make([]byte, unix.SizeofIfInfomsg), b...), err
					})
					return nil
				})
				return nil
			})
		})
	}})
}

func deleteLink(name string) error {
	return perform([]step{func(c *netlink.Conn) error {
		return request(c, unix.RTM_DELLINK, 0, make([]byte, unix.SizeofIfInfomsg), func(e *netlink.AttributeEncoder) {
			e.String(unix.IFLA_IFNAME, name)
		})
	}})
}

func up(name string) step {
	return func(c *netlink.Conn) error {
		head := make([]byte, unix.SizeofIfInfomsg)
		copy(head[8:], native(unix.IFF_UP))  // ifi_flags
		copy(head[12:], native(unix.IFF_UP)) // ifi_change
		err := request(c, unix.RTM_NEWLINK, 0, head, func(e *netlink.AttributeEncoder) {
			e.String(unix.IFLA_IFNAME, name)
		})
		if err != nil {
			return fmt.Errorf("%s up: %w", name, err)
		}
		return nil
	}
}

func address(name string, p netip.Prefix) step {
	return func(c *netlink.Conn) error {
		index, err := linkIndex(name)
		if err != nil {
			return err
		}
		// struct ifaddrmsg: family, prefixlen, flags, scope, index. NODAD: an IPv6 address is usable at once.
		head := append([]byte{addressFamily(p.Addr()), byte(p.Bits()), unix.IFA_F_NODAD, 0}, native(index)...)
		err = request(c, unix.RTM_NEWADDR, netlink.Create|netlink.Excl, head, func(e *netlink.AttributeEncoder) {
			e.Bytes(unix.IFA_LOCAL, p.Addr().AsSlice())
			e.Bytes(unix.IFA_ADDRESS, p.Addr().AsSlice())
		})
		if err != nil {
			return fmt.Errorf("address %s on %s: %w", p, name, err)
		}
		return nil
	}
}

func gateway(a netip.Addr) step {
	return func(c *netlink.Conn) error {
		// struct rtmsg: family, dst_len, src_len, tos, table, protocol, scope, type, flags.
		head := append([]byte{addressFamily(a), 0, 0, 0, unix.RT_TABLE_MAIN, unix.RTPROT_BOOT, unix.RT_SCOPE_UNIVERSE, unix.RTN_UNICAST}, native(0)...)
		err := request(c, unix.RTM_NEWROUTE, netlink.Create|netlink.Excl, head, func(e *netlink.AttributeEncoder) {
			e.Bytes(unix.RTA_GATEWAY, a.AsSlice())
		})
		if err != nil {
			return fmt.Errorf("default route by %s: %w", a, err)
		}
		return nil
	}
}

func addressFamily(a netip.Addr) byte {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

// linkIndex waits a little: the peer's move into the other namespace may still be under way.
func linkIndex(name string) (int, error) {
	for deadline := time.Now().Add(2 * time.Second); ; time.Sleep(time.Millisecond) {
		i, err := net.InterfaceByName(name)
		if err == nil {
			return i.Index, nil
		}
		if time.Now().After(deadline) {
			return 0, fmt.Errorf("link %s: %w", name, err)
		}
	}
}
