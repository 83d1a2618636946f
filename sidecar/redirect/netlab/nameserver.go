package netlab

import (
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// Zone is what a nameserver of the tests knows: names (canonical) to records written as "A 192.0.2.1",
// "CNAME other.example" or "owner.example A 192.0.2.1" for a record that nobody asked for.
type Zone map[string][]string

// Nameserver is a real one, over UDP and TCP.
type Nameserver struct {
	Zone Zone
	// Plain is the most that it answers over UDP.
	Plain int
	// Forge sends each UDP asker a forged answer first.
	Forge bool
	// Code is answered to everything unless it is success.
	Code dnsmessage.RCode
	// Silent answers nothing.
	Silent bool

	mu    sync.Mutex
	asked []string
	raw   [][]byte
}

// Start serves on the address and the port, 0 for any, in the namespace of the calling thread, and returns the port.
func (n *Nameserver) Start(t testing.TB, address string, port uint16) uint16 {
	t.Helper()
	packets, streams := Ports(t, netip.MustParseAddr(address), port)
	port = uint16(packets.LocalAddr().(*net.UDPAddr).Port)
	t.Cleanup(func() { packets.Close(); streams.Close() })
	go func() {
		buf := make([]byte, 1<<16)
		for {
			size, from, err := packets.ReadFrom(buf)
			if err != nil {
				return
			}
			if n.Forge {
				forged := n.Answer(t, buf[:size], "udp", 4096)
				forged[0] ^= 0xff
				_, _ = packets.WriteTo(forged, from)
				_, _ = packets.WriteTo([]byte("no message at all"), from)
			}
			if reply := n.Answer(t, buf[:size], "udp", n.Plain); reply != nil {
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
					packet, err := readFrame(conn)
					if err != nil {
						return
					}
					reply := n.Answer(t, packet, "tcp", 1<<16-1)
					if reply == nil || writeFrame(conn, reply) != nil {
						return
					}
				}
			}()
		}
	}()
	return port
}

// Ports takes the same port for UDP and TCP; with port 0 it tries until one is free for both.
func Ports(t testing.TB, address netip.Addr, port uint16) (*net.UDPConn, net.Listener) {
	t.Helper()
	for try := 0; ; try++ {
		packets, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(address, port)))
		if err != nil {
			t.Fatal(err)
		}
		streams, err := new(net.ListenConfig).Listen(t.Context(), "tcp", packets.LocalAddr().String())
		if err == nil {
			return packets, streams
		}
		packets.Close()
		if port != 0 || try > 100 {
			t.Fatal(err)
		}
	}
}

// Answer is the reply to a packet of at most size bytes (0: any), or nil.
func (n *Nameserver) Answer(t testing.TB, packet []byte, network string, size int) []byte {
	var m dnsmessage.Message
	if err := m.Unpack(packet); err != nil || len(m.Questions) != 1 {
		t.Errorf("the nameserver was sent %x: %v", packet, err)
		return nil
	}
	q := m.Questions[0]
	name := strings.ToLower(strings.TrimSuffix(q.Name.String(), "."))
	n.mu.Lock()
	n.asked = append(n.asked, network+" "+strings.TrimPrefix(q.Type.String(), "Type")+" "+name)
	n.raw = append(n.raw, append([]byte(nil), packet...))
	n.mu.Unlock()
	if n.Silent {
		return nil
	}
	out := dnsmessage.Message{Header: dnsmessage.Header{ID: m.ID, Response: true, RCode: n.Code}, Questions: m.Questions}
	if n.Code == dnsmessage.RCodeSuccess {
		n.mu.Lock()
		lines, known := n.Zone[name]
		n.mu.Unlock()
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

// Set changes what the nameserver knows of a name.
func (n *Nameserver) Set(name string, records ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.Zone[name] = records
}

// Queries lists what was asked: transport, type, name.
func (n *Nameserver) Queries() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]string(nil), n.asked...)
}

// Packets are the queries as they came.
func (n *Nameserver) Packets() [][]byte {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([][]byte(nil), n.raw...)
}

func readFrame(r io.Reader) ([]byte, error) {
	var size [2]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, err
	}
	packet := make([]byte, binary.BigEndian.Uint16(size[:]))
	_, err := io.ReadFull(r, packet)
	return packet, err
}

func writeFrame(w io.Writer, packet []byte) error {
	_, err := w.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(packet))), packet...))
	return err
}
