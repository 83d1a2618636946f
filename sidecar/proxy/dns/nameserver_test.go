package dns

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/chaperone-dev/chaperone/sidecar/redirect/resolver"
)

// zone is what a nameserver of the tests knows: names (canonical) to records written as "A 192.0.2.1",
// "CNAME other.example" or "owner.example A 192.0.2.1" for a record that nobody asked for.
type zone map[string][]string

// nameserver is a real one on loopback, over UDP and TCP.
type nameserver struct {
	zone zone
	// plain is the most that it answers over UDP.
	plain int
	// forge sends each UDP asker a forged answer first.
	forge bool
	// code is answered to everything unless it is success.
	code dnsmessage.RCode
	// silent answers nothing.
	silent bool

	mu    sync.Mutex
	asked []string
	raw   [][]byte
}

// start serves on the address and the port, 0 for any, and returns the port.
func (n *nameserver) start(t testing.TB, address string, port uint16) uint16 {
	t.Helper()
	packets, streams := listen(t, netip.MustParseAddr(address), port)
	port = uint16(packets.LocalAddr().(*net.UDPAddr).Port)
	t.Cleanup(func() { packets.Close(); streams.Close() })
	go func() {
		buf := make([]byte, 1<<16)
		for {
			size, from, err := packets.ReadFrom(buf)
			if err != nil {
				return
			}
			if n.forge {
				forged := n.answer(t, buf[:size], "udp", 4096)
				forged[0] ^= 0xff
				_, _ = packets.WriteTo(forged, from)
				_, _ = packets.WriteTo([]byte("no message at all"), from)
			}
			if reply := n.answer(t, buf[:size], "udp", n.plain); reply != nil {
				_, _ = packets.WriteTo(reply, from)
			}
		}
	}()
	go func() {
		for {
			conn, err := streams.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				for {
					packet, err := readFrame(conn, 1<<16-1)
					if err != nil {
						return
					}
					reply := n.answer(t, packet, "tcp", 1<<16-1)
					if reply == nil || writeFrame(conn, reply) != nil {
						return
					}
				}
			}()
		}
	}()
	return port
}

// listen takes the same port for UDP and TCP; with port 0 it tries until one is free for both.
func listen(t testing.TB, address netip.Addr, port uint16) (*net.UDPConn, net.Listener) {
	t.Helper()
	for try := 0; ; try++ {
		packets, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(address, port)))
		if err != nil {
			t.Fatal(err)
		}
		streams, err := net.Listen("tcp", packets.LocalAddr().String())
		if err == nil {
			return packets, streams
		}
		packets.Close()
		if port != 0 || try > 100 {
			t.Fatal(err)
		}
	}
}

func (n *nameserver) answer(t testing.TB, packet []byte, network string, size int) []byte {
	var m dnsmessage.Message
	if err := m.Unpack(packet); err != nil || len(m.Questions) != 1 {
		t.Errorf("the nameserver was sent %x: %v", packet, err)
		return nil
	}
	q := m.Questions[0]
	name := resolver.Canonical(q.Name.String())
	n.mu.Lock()
	n.asked = append(n.asked, network+" "+strings.TrimPrefix(q.Type.String(), "Type")+" "+name)
	n.raw = append(n.raw, append([]byte(nil), packet...))
	n.mu.Unlock()
	if n.silent {
		return nil
	}
	out := dnsmessage.Message{Header: dnsmessage.Header{ID: m.ID, Response: true, RCode: n.code}, Questions: m.Questions}
	if n.code == dnsmessage.RCodeSuccess {
		lines, known := n.zone[name]
		if !known {
			out.RCode = dnsmessage.RCodeNameError
		}
		for _, line := range lines {
			if r, ok := resource(t, q, line); ok {
				out.Answers = append(out.Answers, r)
			}
		}
	}
	reply, err := out.Pack()
	if err != nil {
		t.Errorf("packing: %v", err)
		return nil
	}
	if size > 0 && len(reply) > size {
		out.Truncated, out.Answers = true, nil
		reply, _ = out.Pack()
	}
	return reply
}

func resource(t testing.TB, q dnsmessage.Question, line string) (dnsmessage.Resource, bool) {
	fields := strings.Fields(line)
	owner := q.Name
	if len(fields) == 3 {
		owner, fields = dnsmessage.MustNewName(fields[0]+"."), fields[1:]
	}
	r := dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Name: owner, Class: dnsmessage.ClassINET, TTL: 5}}
	switch fields[0] {
	case "A":
		r.Body = &dnsmessage.AResource{A: netip.MustParseAddr(fields[1]).As4()}
		return r, q.Type == dnsmessage.TypeA
	case "AAAA":
		r.Body = &dnsmessage.AAAAResource{AAAA: netip.MustParseAddr(fields[1]).As16()}
		return r, q.Type == dnsmessage.TypeAAAA
	case "CNAME":
		r.Body = &dnsmessage.CNAMEResource{CNAME: dnsmessage.MustNewName(fields[1] + ".")}
		return r, true
	case "TXT":
		r.Body = &dnsmessage.TXTResource{TXT: []string{fields[1]}}
		return r, q.Type == dnsmessage.TypeTXT
	}
	t.Errorf("record %q", line)
	return r, false
}

func (n *nameserver) queries() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]string(nil), n.asked...)
}

func client(t testing.TB, n *nameserver) *Client {
	t.Helper()
	port := n.start(t, "127.0.0.1", 0)
	return newClient(resolver.Settings{
		Nameservers: []netip.Addr{netip.MustParseAddr("127.0.0.1")},
		Search:      []string{"prod.svc.cluster.local", "svc.cluster.local"}, Ndots: 5,
	}, port)
}

func within(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

func addresses(s ...string) []netip.Addr {
	var out []netip.Addr
	for _, a := range s {
		out = append(out, netip.MustParseAddr(a))
	}
	return out
}
