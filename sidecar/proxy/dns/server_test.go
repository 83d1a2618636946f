package dns

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/chaperone-dev/chaperone/sidecar/redirect/netlab"
)

// served starts a server before the nameserver and gives its address.
func served(t *testing.T, n *nameserver) (netip.AddrPort, *Names) {
	t.Helper()
	names := NewNames(time.Now)
	s := &Server{Client: client(t, n), Names: names, Rule: func(name string) (Ruling, string) {
		switch {
		case strings.HasSuffix(name, "denied.example"):
			return NoSuchName, "no policy lets this pod connect to it"
		case strings.HasSuffix(name, "later.example"):
			return NotNow, "no policy has arrived yet"
		}
		return Forward, ""
	}}
	address := freePort(t)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	ready := make(chan struct{})
	go func() { done <- s.Serve(ctx, []netip.AddrPort{address}, func() { close(ready) }) }()
	select {
	case <-ready:
	case err := <-done:
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return address, names
}

func freePort(t *testing.T) netip.AddrPort {
	t.Helper()
	packets, streams := netlab.Ports(t, netip.MustParseAddr("127.0.0.1"), 0)
	defer packets.Close()
	defer streams.Close()
	return packets.LocalAddr().(*net.UDPAddr).AddrPort()
}

func ask(t *testing.T, network string, to netip.AddrPort, packet []byte) dnsmessage.Message {
	t.Helper()
	conn, err := net.Dial(network, to.String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	var reply []byte
	if network == "tcp" {
		if err := writeFrame(conn, packet); err != nil {
			t.Fatal(err)
		}
		if reply, err = readFrame(conn, 1<<16-1); err != nil {
			t.Fatal(err)
		}
	} else {
		if _, err := conn.Write(packet); err != nil {
			t.Fatal(err)
		}
		reply = make([]byte, 1<<16)
		n, err := conn.Read(reply)
		if err != nil {
			t.Fatal(err)
		}
		reply = reply[:n]
	}
	var m dnsmessage.Message
	if err := m.Unpack(reply); err != nil {
		t.Fatalf("unpacking %x: %v", reply, err)
	}
	return m
}

type queryOption func(*dnsmessage.Message)

func edns(options ...dnsmessage.Option) queryOption {
	return func(m *dnsmessage.Message) {
		var h dnsmessage.ResourceHeader
		_ = h.SetEDNS0(1232, dnsmessage.RCodeSuccess, true)
		m.Additionals = append(m.Additionals, dnsmessage.Resource{Header: h, Body: &dnsmessage.OPTResource{Options: options}})
	}
}

func packed(t testing.TB, name string, typ dnsmessage.Type, options ...queryOption) []byte {
	t.Helper()
	m := dnsmessage.Message{Header: dnsmessage.Header{ID: 0x1234, RecursionDesired: true}, Questions: []dnsmessage.Question{
		{Name: dnsmessage.MustNewName(name), Type: typ, Class: dnsmessage.ClassINET},
	}}
	for _, o := range options {
		o(&m)
	}
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestTheServerAnswersFromTheNotedNameservers(t *testing.T) {
	t.Parallel()
	n := &nameserver{Zone: zone{"db.example": {"CNAME shared.example", "shared.example A 192.0.2.1"}}}
	server, names := served(t, n)
	for _, network := range []string{"udp", "tcp"} {
		m := ask(t, network, server, packed(t, "DB.Example.", dnsmessage.TypeA))
		if m.ID != 0x1234 || m.RCode != dnsmessage.RCodeSuccess || len(m.Answers) != 2 || m.Questions[0].Name.String() != "DB.Example." {
			t.Errorf("%s: %s", network, m.GoString())
		}
	}
	if got := names.Of(netip.MustParseAddr("192.0.2.1")); !slices.Equal(got, []string{"db.example"}) {
		t.Errorf("remembered %q", got)
	}
	if q := n.Queries(); !slices.Equal(q, []string{"udp A db.example", "tcp A db.example"}) {
		t.Errorf("asked %q", q)
	}
}

func TestAnswersThatDoNotFitSayThatTheyAreTruncated(t *testing.T) {
	t.Parallel()
	server, names := served(t, &nameserver{Zone: zone{"big.example": many(200)}, Plain: 512})
	if m := ask(t, "udp", server, packed(t, "big.example.", dnsmessage.TypeA)); !m.Truncated {
		t.Errorf("over UDP: %s", m.GoString())
	}
	if m := ask(t, "tcp", server, packed(t, "big.example.", dnsmessage.TypeA)); m.Truncated || len(m.Answers) != 200 {
		t.Errorf("over TCP: %d answers", len(m.Answers))
	}
	if got := names.Of(netip.MustParseAddr("198.51.0.200")); len(got) != 1 {
		t.Errorf("remembered %q", got)
	}
}

func TestWhatIsNotForAPolicyIsAnsweredHere(t *testing.T) {
	t.Parallel()
	n := &nameserver{Zone: zone{}}
	server, _ := served(t, n)
	for name, c := range map[string]struct {
		packet []byte
		want   dnsmessage.RCode
		why    string
	}{
		"a name of no policy":             {packed(t, "secret.denied.example.", dnsmessage.TypeA), dnsmessage.RCodeNameError, ""},
		"and why, for who can be told":    {packed(t, "secret.denied.example.", dnsmessage.TypeTXT, edns()), dnsmessage.RCodeNameError, "no policy lets this pod"},
		"before a policy is there":        {packed(t, "db.later.example.", dnsmessage.TypeA, edns()), dnsmessage.RCodeServerFailure, "no policy has arrived"},
		"any type":                        {packed(t, "x.example.", dnsmessage.TypeALL), dnsmessage.RCodeNotImplemented, ""},
		"a zone transfer":                 {packed(t, "x.example.", dnsmessage.TypeAXFR), dnsmessage.RCodeNotImplemented, ""},
		"NULL, which tunnels are fond of": {packed(t, "x.example.", dnsmessage.Type(10)), dnsmessage.RCodeNotImplemented, ""},
		"HTTPS":                           {packed(t, "x.example.", typeHTTPS), dnsmessage.RCodeSuccess, ""},
		"another class": {packed(t, "x.example.", dnsmessage.TypeTXT, func(m *dnsmessage.Message) {
			m.Questions[0].Class = dnsmessage.ClassCHAOS
		}), dnsmessage.RCodeRefused, ""},
		"an update": {packed(t, "x.example.", dnsmessage.TypeSOA, func(m *dnsmessage.Message) { m.OpCode = 5 }), dnsmessage.RCodeNotImplemented, ""},
		"two questions": {packed(t, "x.example.", dnsmessage.TypeA, func(m *dnsmessage.Message) {
			m.Questions = append(m.Questions, m.Questions[0])
		}), dnsmessage.RCodeFormatError, ""},
		"no question": {packed(t, "x.example.", dnsmessage.TypeA, func(m *dnsmessage.Message) { m.Questions = nil }), dnsmessage.RCodeFormatError, ""},
		"too long":    {packed(t, "x.example.", dnsmessage.TypeA, edns(dnsmessage.Option{Code: 12, Data: make([]byte, 1000)})), dnsmessage.RCodeFormatError, ""},
	} {
		t.Run(name, func(t *testing.T) {
			m := ask(t, "udp", server, c.packet)
			if m.RCode != c.want || len(m.Answers) != 0 || !m.Response || m.ID != 0x1234 {
				t.Errorf("got %s", m.GoString())
			}
			if c.why != "" && !strings.Contains(string(m.Additionals[0].Body.(*dnsmessage.OPTResource).Options[0].Data), c.why) {
				t.Errorf("why: %s", m.GoString())
			}
		})
	}
	if q := n.Queries(); len(q) != 0 {
		t.Errorf("left the pod: %q", q)
	}
}

func TestWhatIsPassedOnIsBuiltAnew(t *testing.T) {
	t.Parallel()
	n := &nameserver{Zone: zone{"x.example": {"A 192.0.2.1"}}}
	server, _ := served(t, n)
	smuggled := []byte("smuggled")
	ask(t, "udp", server, packed(t, "x.example.", dnsmessage.TypeA, edns(dnsmessage.Option{Code: 65001, Data: smuggled}), func(m *dnsmessage.Message) {
		m.Additionals = append(m.Additionals, dnsmessage.Resource{
			Header: dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName("smuggled."), Class: dnsmessage.ClassINET},
			Body:   &dnsmessage.TXTResource{TXT: []string{"smuggled"}},
		})
	}))
	if sent := n.Packets(); len(sent) != 1 || bytes.Contains(sent[0], smuggled) {
		t.Errorf("passed on %q", sent)
	}
}

func TestNoNameserverAnswering(t *testing.T) {
	t.Parallel()
	server, _ := served(t, &nameserver{Silent: true})
	start := time.Now()
	m := ask(t, "udp", server, packed(t, "x.example.", dnsmessage.TypeA, edns()))
	if m.RCode != dnsmessage.RCodeServerFailure || time.Since(start) > 5*time.Second {
		t.Errorf("after %s: %s", time.Since(start), m.GoString())
	}
}

func TestFloodsAreBounded(t *testing.T) {
	t.Parallel()
	server, _ := served(t, &nameserver{Silent: true})
	udp, err := net.Dial("udp", server.String())
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	packet := packed(t, "x.example.", dnsmessage.TypeA)
	for range 20 * maxInFlight {
		_, _ = udp.Write(packet)
	}
	var open []net.Conn
	var refused atomic.Int32
	for range 2 * maxConnections {
		conn, err := net.Dial("tcp", server.String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		open = append(open, conn)
	}
	var wait sync.WaitGroup
	for _, conn := range open {
		wait.Go(func() {
			_ = conn.SetReadDeadline(time.Now().Add(time.Second))
			if _, err := conn.Read(make([]byte, 1)); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
				refused.Add(1)
			}
		})
	}
	wait.Wait()
	if n := refused.Load(); n != maxConnections {
		t.Errorf("%d connections were closed, want %d", n, maxConnections)
	}
}
