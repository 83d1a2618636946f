package proxy

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/record"
	"github.com/chaperone-dev/chaperone/sidecar/redirect/netlab"
	"github.com/chaperone-dev/chaperone/sidecar/trust"
)

const fqdn = "billing-db.prod.svc.cluster.local"

func at(a netip.Addr, port uint16) string { return netip.AddrPortFrom(a, port).String() }

func line(t *testing.T, conn net.Conn) string {
	t.Helper()
	s, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		t.Errorf("reading: %q, %v", s, err)
	}
	return strings.TrimSpace(s)
}

// mustReset expects that the agent sees its connection refused.
func mustReset(t *testing.T, conn net.Conn) {
	t.Helper()
	if n, err := conn.Read(make([]byte, 16)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("%d bytes, %v, want a reset", n, err)
	}
}

func TestAnAgentReachesItsTargetThroughTheSidecar(t *testing.T) {
	p := newPod(t, netlab.Zone{fqdn: {"A " + netlab.Host4.String(), "AAAA " + netlab.Host6.String()}})
	for _, a := range []netip.Addr{netlab.Host4, netlab.Host6} {
		p.serve(at(a, 5432), func(c net.Conn) { fmt.Fprintf(c, "the server sees %s\n", c.RemoteAddr().(*net.TCPAddr).IP) })
	}
	p.apply(plan("p", policy.Deny, postgres("billing", 5432, "billing-db")))
	got, err := p.lookup(fqdn)
	if err != nil || !slices.Contains(got, netlab.Host4) || !slices.Contains(got, netlab.Host6) {
		t.Fatalf("resolving: %v, %v", got, err)
	}
	for address, sees := range map[string]netip.Addr{at(netlab.Host4, 5432): netlab.Pod4, at(netlab.Host6, 5432): netlab.Pod6} {
		conn := p.dial(address)
		reader := bufio.NewReader(conn)
		if s, err := reader.ReadString('\n'); err != nil || s != fmt.Sprintf("billing %s %s\n", fqdn, address) {
			t.Errorf("%s: %q, %v", address, s, err)
		}
		fmt.Fprintln(conn, "upstream")
		if s, err := reader.ReadString('\n'); err != nil || s != fmt.Sprintf("the server sees %s\n", sees) {
			t.Errorf("%s: %q, %v", address, s, err)
		}
	}
}

func TestTheUpstreamIsDialledByThePolicysNameWhateverTheAgentDials(t *testing.T) {
	p := newPod(t, netlab.Zone{fqdn: {"A " + netlab.Host4.String()}})
	p.serve(at(netlab.Host4, 5432), func(c net.Conn) { fmt.Fprintln(c, "the old place") })
	p.serve(at(netlab.Other4, 5432), func(c net.Conn) { fmt.Fprintln(c, "the new place") })
	p.apply(plan("p", policy.Allow, postgres("billing", 5432, "billing-db")))
	if _, err := p.lookup(fqdn); err != nil {
		t.Fatal(err)
	}
	p.server.Set(fqdn, "A "+netlab.Other4.String())
	conn := p.dial(at(netlab.Host4, 5432))
	reader := bufio.NewReader(conn)
	if s, _ := reader.ReadString('\n'); s != fmt.Sprintf("billing %s %s\n", fqdn, at(netlab.Host4, 5432)) {
		t.Errorf("the address that the name gave once: %q", s)
	}
	fmt.Fprintln(conn, "upstream")
	if s, _ := reader.ReadString('\n'); s != "the new place\n" {
		t.Errorf("dialled %q", s)
	}
}

func TestWhatNoPolicyAllowsIsResetAndRecorded(t *testing.T) {
	p := newPod(t, netlab.Zone{})
	p.serve(at(netlab.Host4, 443), func(c net.Conn) { fmt.Fprintln(c, "reached") })
	p.refused(at(netlab.Host4, 443))
	p.apply(plan("p", policy.Deny, postgres("billing", 5432, fqdn)))
	for range 5 {
		p.refused(at(netlab.Host4, 443))
	}
	p.recorded("the refusal", func(n news) bool {
		return n.Target == "egress" && n.Event.Kind == record.KindCommand && n.Event.Verdict == "Deny" && n.Event.Rule == "egress" &&
			n.Event.Policy == "prod/p" && strings.Contains(n.Event.Message, at(netlab.Host4, 443))
	})
	p.mu.Lock()
	if n := len(p.events); n != 3 {
		t.Errorf("%d events for five equal refusals, want connect, command and disconnect once", n)
	}
	p.mu.Unlock()
	if left := p.Left(); slices.ContainsFunc(left, func(x netlab.Packet) bool { return x.Opens }) {
		t.Errorf("left the pod: %v", left)
	}
}

func TestAddressesThatNothingMayReach(t *testing.T) {
	p := newPod(t, netlab.Zone{})
	for _, a := range []netip.Addr{netlab.Metadata4, netlab.Metadata6} {
		p.serve(at(a, 80), func(c net.Conn) { fmt.Fprintln(c, "a credential") })
	}
	p.apply(open(plan("p", policy.Allow), 80, netlab.Metadata4.String(), netlab.Metadata6.String()))
	for _, address := range []string{
		at(netlab.Metadata4, 80), at(netlab.Metadata6, 80),
		"127.0.0.1:15001", "[::1]:15001", // a loop, if it were served
	} {
		p.refused(address)
	}
	if left := p.Left(); slices.ContainsFunc(left, func(x netlab.Packet) bool { return x.Opens }) {
		t.Errorf("left the pod: %v", left)
	}
}

func TestUninspectedConnectionsCarryBothDirectionsAndTheirEnds(t *testing.T) {
	p := newPod(t, netlab.Zone{})
	p.serve(at(netlab.Host4, 9000), func(c net.Conn) {
		sum := sha256.New()
		n, _ := io.Copy(sum, c)
		fmt.Fprintf(c, "%d %x", n, sum.Sum(nil))
	})
	p.apply(plan("p", policy.Allow))
	content := bytes.Repeat([]byte("0123456789abcdef"), 1<<18)
	conn := p.dial(at(netlab.Host4, 9000))
	if _, err := conn.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(conn)
	if err != nil || string(got) != fmt.Sprintf("%d %x", len(content), sha256.Sum256(content)) {
		t.Errorf("%q, %v", got, err)
	}
	p.recorded("what went by", func(n news) bool {
		return n.Target == "egress" && n.Event.Kind == record.KindResult && n.Event.Bytes == int64(len(content)+len(got))
	})
	p.refused(at(netlab.Host4, 9001))
	p.recorded("why an allowed connection failed", func(n news) bool {
		return n.Event.Kind == record.KindDisconnect && strings.Contains(n.Event.Error, "connection refused")
	})
}

func TestHostsThatMayPassAreCheckedByTheNameInTLS(t *testing.T) {
	p := newPod(t, netlab.Zone{"api.llm.example": {"A " + netlab.Host4.String()}, "evil.example": {"A " + netlab.Host4.String()}})
	a, err := trust.LoadAuthority(t.TempDir(), "outside")
	if err != nil {
		t.Fatal(err)
	}
	leaves, err := trust.NewLeaves(a)
	if err != nil {
		t.Fatal(err)
	}
	p.serve(at(netlab.Host4, 443), func(c net.Conn) {
		conn := tls.Server(c, &tls.Config{GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
			return leaves.For(h.ServerName, []string{"api.llm.example"}, netip.Addr{})
		}})
		_ = conn.Handshake()
		fmt.Fprintf(conn, "this is %s\n", conn.ConnectionState().ServerName)
	})
	p.serve(at(netlab.Host4, 25), func(c net.Conn) { fmt.Fprintln(c, "220 the server speaks first") })
	p.apply(open(open(plan("p", policy.Deny), 443, "api.llm.example"), 25, "api.llm.example"))
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(a.PEM())
	hello := func(sni string) (string, error) {
		conn := tls.Client(p.dial(at(netlab.Host4, 443)), &tls.Config{ServerName: sni, RootCAs: roots, InsecureSkipVerify: sni == ""})
		b, err := io.ReadAll(conn)
		return string(b), err
	}
	if _, err := p.lookup("evil.example"); err == nil {
		t.Error("a name of no policy was resolved")
	}
	if got, err := hello("api.llm.example"); err != nil || got != "this is api.llm.example\n" {
		t.Errorf("an address that was not asked for: %q, %v", got, err)
	}
	if _, err := p.lookup("api.llm.example"); err != nil {
		t.Fatal(err)
	}
	if got, err := hello("api.llm.example"); err != nil || got != "this is api.llm.example\n" {
		t.Errorf("its own name: %q, %v", got, err)
	}
	if got, err := hello("evil.example"); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("another name at the same address: %q, %v", got, err)
	}
	p.recorded("the name that was asked for", func(n news) bool {
		return n.Event.Kind == record.KindDisconnect && strings.Contains(n.Event.Error, `"evil.example"`)
	})
	if got := line(t, p.dial(at(netlab.Host4, 25))); got != "220 the server speaks first" {
		t.Errorf("%q", got)
	}
}

func TestAChangedPolicyEndsWhatItNoLongerAllows(t *testing.T) {
	p := newPod(t, netlab.Zone{fqdn: {"A " + netlab.Host4.String()}})
	p.serve(at(netlab.Host4, 9000), func(c net.Conn) { _, _ = io.Copy(c, c) })
	billing := postgres("billing", 5432, fqdn)
	p.apply(plan("p", policy.Allow, billing))
	if _, err := p.lookup("anything.example"); err == nil || !strings.Contains(err.Error(), "no such host") {
		t.Errorf("resolving with unmatched allowed: %v", err)
	}
	passing, inspected := p.dial(at(netlab.Host4, 9000)), p.dial(at(netlab.Host4, 5432))
	fmt.Fprintln(passing, "hello")
	if line(t, passing) != "hello" || !strings.HasPrefix(line(t, inspected), "billing ") {
		t.Fatal("the connections do not work")
	}
	p.apply(plan("p", policy.Allow, billing), plan("q", policy.Allow))
	fmt.Fprintln(passing, "still")
	if line(t, passing) != "still" {
		t.Error("a connection that is still allowed was ended")
	}
	p.apply(plan("p", policy.Deny, billing))
	mustReset(t, passing)
	fmt.Fprintln(inspected, "still open")
	if _, err := inspected.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("an inspected session ends by its own wish: %v", err)
	}
	inspected = p.dial(at(netlab.Host4, 5432))
	if !strings.HasPrefix(line(t, inspected), "billing ") {
		t.Fatal("the connection does not work")
	}
	p.apply(plan("p", policy.Deny))
	if _, err := inspected.Read(make([]byte, 1)); err == nil {
		t.Error("a session whose target is gone goes on")
	}
}

func TestTargetsOfOtherProtocolsAreRefusedInTheirWords(t *testing.T) {
	p := newPod(t, netlab.Zone{"bastion.example": {"A " + netlab.Other4.String()}})
	p.apply(plan("p", policy.Deny,
		policy.Target{Name: "bastion", Hosts: []string{"bastion.example"}, SSH: &policy.SSH{DefaultAction: policy.Allow}}))
	if got := line(t, p.dial(at(netlab.Other4, 22))); got != "Chaperone: this version does not serve ssh targets; the connection to bastion is refused" {
		t.Errorf("ssh: %q", got)
	}
	p.recorded("the refusal of bastion", func(n news) bool {
		return n.Target == "bastion" && n.Event.Kind == record.KindDisconnect && n.Event.Error != ""
	})
}

func TestConnectionsAreBounded(t *testing.T) {
	p := newPod(t, netlab.Zone{fqdn: {"A " + netlab.Host4.String()}})
	p.apply(plan("p", policy.Deny, postgres("billing", 5432, fqdn)))
	var open []net.Conn
	for range maxConnections {
		open = append(open, p.dial(at(netlab.Host4, 5432)))
	}
	for i, c := range open {
		if !strings.HasPrefix(line(t, c), "billing ") {
			t.Fatalf("connection %d does not work", i)
		}
	}
	p.refused(at(netlab.Host4, 5432))
	open[0].Close()
	for deadline := time.Now().Add(5 * time.Second); ; {
		if conn, err := p.connect(at(netlab.Host4, 5432)); err == nil {
			if _, err := conn.Read(make([]byte, 1)); err == nil {
				break
			}
		}
		if time.Now().After(deadline) {
			t.Fatal("a place that became free is not used")
		}
	}
}

func TestNoQueryForANameOfNoPolicyLeavesThePod(t *testing.T) {
	p := newPod(t, netlab.Zone{"c2VjcmV0.evil.example": {"A 192.0.2.66"}, fqdn: {"A " + netlab.Host4.String()}})
	if _, err := p.lookup(fqdn); err == nil || strings.Contains(err.Error(), "no such host") {
		t.Errorf("before there is a policy: %v, want a failure that passes", err)
	}
	p.apply(plan("p", policy.Deny, postgres("billing", 5432, fqdn)))
	if got, err := p.lookup("c2VjcmV0.evil.example"); err == nil || !strings.Contains(err.Error(), "no such host") {
		t.Errorf("got %v, %v", got, err)
	}
	if q := p.server.Queries(); slices.ContainsFunc(q, func(s string) bool { return strings.Contains(s, "evil") }) {
		t.Errorf("asked %q", q)
	}
	if _, err := p.lookup(fqdn); err != nil {
		t.Error(err)
	}
}
