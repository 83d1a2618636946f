package dns

import (
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

func FuzzQuery(f *testing.F) {
	f.Add(packed(f, "db.example.", dnsmessage.TypeA))
	f.Add(packed(f, "db.example.", dnsmessage.TypeTXT, edns(dnsmessage.Option{Code: 10, Data: make([]byte, 8)})))
	f.Add([]byte("\x12\x34\x01\x00\xff\xff\xff\xff\xff\xff\xff\xff\xc0\x0c"))
	f.Fuzz(func(t *testing.T, packet []byte) {
		q, code, answered := parseQuery(packet)
		if !answered {
			return
		}
		var m dnsmessage.Message
		if reply := q.reply(code, edeBlocked, "why"); m.Unpack(reply) != nil || m.ID != q.id || !m.Response {
			t.Errorf("reply %x to %x", reply, packet)
		}
		if code != dnsmessage.RCodeSuccess {
			return
		}
		forward, err := q.forward(7)
		if err != nil {
			t.Fatalf("%x was understood and could not be passed on: %v", packet, err)
		}
		// What is passed on means the same, and is as plain as it can be.
		again, code, answered := parseQuery(forward)
		if !answered || code != dnsmessage.RCodeSuccess || again.name != q.name || again.question.Type != q.question.Type || len(forward) > 12+255+4+11 {
			t.Errorf("%x passed on as %x", packet, forward)
		}
	})
}

func FuzzAnswer(f *testing.F) {
	question := dnsmessage.Question{Name: dnsmessage.MustNewName("db.example."), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}
	n := &nameserver{Zone: zone{"db.example": {"CNAME a.example", "a.example CNAME db.example", "A 192.0.2.1"}}}
	f.Add(n.Answer(f, packed(f, "db.example.", dnsmessage.TypeA), "udp", 0))
	f.Fuzz(func(t *testing.T, packet []byte) {
		a, err := parseAnswer(packet, 0x1234, question)
		if err == nil && (len(a.addresses) > maxRecords || a.ttl < 0) {
			t.Errorf("%x gave %+v", packet, a)
		}
	})
}
