package node

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// setUpNetwork joins the node to a second namespace that plays the world
// outside the cluster: its router, and a place to run servers that are not
// pods. Nothing leads on to the host.
func (n Node) setUpNetwork() error {
	if err := n.networkSysctls(); err != nil {
		return err
	}
	// A namespace belongs to a thread until it is entered by others.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	own, err := netns.Get()
	if err != nil {
		return fmt.Errorf("finding the node's network: %w", err)
	}
	defer own.Close()
	if err := linkUp("lo"); err != nil {
		return err
	}
	world, err := netns.NewNamed(outside)
	if err != nil {
		return fmt.Errorf("making the outside network: %w", err)
	}
	defer world.Close()
	if err := n.networkSysctls(); err != nil {
		return err
	}
	if err := linkUp("lo"); err != nil {
		return err
	}
	pair := &netlink.Veth{
		LinkAttrs:     netlink.LinkAttrs{Name: "eth0"},
		PeerName:      "eth0",
		PeerNamespace: netlink.NsFd(own),
	}
	if err := netlink.LinkAdd(pair); err != nil {
		return fmt.Errorf("joining the node to the outside network: %w", err)
	}
	if err := n.address("eth0", gateway4, gateway6); err != nil {
		return err
	}
	if err := n.route(address4, podRange4, serviceRange4); err != nil {
		return err
	}
	if n.IPv6 {
		if err := n.route(address6, podRange6, serviceRange6); err != nil {
			return err
		}
	}
	if err := netns.Set(own); err != nil {
		return fmt.Errorf("returning to the node's network: %w", err)
	}
	if err := n.address("eth0", address4, address6); err != nil {
		return err
	}
	if err := n.route(gateway4, "0.0.0.0/0"); err != nil {
		return err
	}
	if n.IPv6 {
		return n.route(gateway6, "::/0")
	}
	return nil
}

func linkUp(name string) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("finding link %s: %w", name, err)
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("switching on link %s: %w", name, err)
	}
	return nil
}

func (n Node) address(name, v4, v6 string) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("finding link %s: %w", name, err)
	}
	addresses := []string{fmt.Sprintf("%s/%d", v4, nodePrefix4)}
	if n.IPv6 {
		addresses = append(addresses, fmt.Sprintf("%s/%d", v6, nodePrefix6))
	}
	for _, a := range addresses {
		addr, err := netlink.ParseAddr(a)
		if err != nil {
			return fmt.Errorf("parsing %s: %w", a, err)
		}
		// Without duplicate detection (RFC 4862, 5.4) it is usable at once.
		addr.Flags |= unix.IFA_F_NODAD
		if err := netlink.AddrAdd(link, addr); err != nil {
			return fmt.Errorf("giving %s the address %s: %w", name, a, err)
		}
	}
	return linkUp(name)
}

func (n Node) route(via string, destinations ...string) error {
	gateway, err := netlink.ParseIPNet(via + hostBits(via))
	if err != nil {
		return fmt.Errorf("parsing %s: %w", via, err)
	}
	for _, d := range destinations {
		dst, err := netlink.ParseIPNet(d)
		if err != nil {
			return fmt.Errorf("parsing %s: %w", d, err)
		}
		if err := netlink.RouteAdd(&netlink.Route{Dst: dst, Gw: gateway.IP}); err != nil {
			return fmt.Errorf("adding a route to %s by %s: %w", d, via, err)
		}
	}
	return nil
}

func hostBits(address string) string {
	for _, r := range address {
		if r == ':' {
			return "/128"
		}
	}
	return "/32"
}

// networkSysctls makes the current network namespace a router. With
// bridge-nf-call a reply between two pods on the bridge passes the rules that
// translated its request, which answers through a ClusterIP depend on.
func (n Node) networkSysctls() error {
	values := map[string]string{
		"net/ipv4/ip_forward":                "1",
		"net/ipv4/conf/all/rp_filter":        "0",
		"net/ipv4/conf/default/rp_filter":    "0",
		"net/bridge/bridge-nf-call-iptables": "1",
	}
	if n.IPv6 {
		values["net/ipv6/conf/all/disable_ipv6"] = "0"
		values["net/ipv6/conf/default/disable_ipv6"] = "0"
		values["net/ipv6/conf/all/forwarding"] = "1"
		values["net/ipv6/conf/default/forwarding"] = "1"
		values["net/ipv6/conf/default/accept_dad"] = "0"
		values["net/bridge/bridge-nf-call-ip6tables"] = "1"
	}
	for name, value := range values {
		if err := os.WriteFile(filepath.Join("/proc/sys", name), []byte(value), 0o644); err != nil {
			return fmt.Errorf("setting %s: %w", name, err)
		}
	}
	return nil
}
