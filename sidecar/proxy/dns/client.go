package dns

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/chaperone-dev/chaperone/sidecar/redirect/resolver"
)

const (
	// attemptTimeout is how long one nameserver has; queryTimeout bounds a query in all, below the 5 s after which
	// stub resolvers ask again (resolv.conf(5)).
	attemptTimeout = 2 * time.Second
	queryTimeout   = 4500 * time.Millisecond
	// rounds is how often each nameserver is tried.
	rounds = 2
)

// Client asks the noted nameservers. It is safe for concurrent use.
type Client struct {
	settings resolver.Settings
	port     uint16
	cache    cache
}

// NewClient asks the nameservers of the settings on port 53.
func NewClient(settings resolver.Settings) *Client { return newClient(settings, 53) }

func newClient(settings resolver.Settings, port uint16) *Client {
	return &Client{settings: settings, port: port, cache: cache{entries: map[string]*entry{}}}
}

// exchange sends the query over network (udp or tcp) to one nameserver after the other until one gives an answer
// that decides something. The packet carries the id of the answer's own query, not of q.
func (c *Client) exchange(ctx context.Context, q *query, network string) (answer, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	err := errors.New("no nameserver was noted")
	var got answer
	var packet []byte
	for range rounds {
		for _, server := range c.settings.Nameservers {
			if ctx.Err() != nil {
				break
			}
			a, p, attempt := c.ask(ctx, q, network, netip.AddrPortFrom(server, c.port))
			if attempt != nil {
				err = fmt.Errorf("nameserver %s: %w", server, attempt)
				continue
			}
			got, packet = a, p
			// Another server may know what this one failed to find out or does not serve.
			if a.code != dnsmessage.RCodeServerFailure && a.code != dnsmessage.RCodeRefused && a.code != dnsmessage.RCodeNotImplemented {
				return a, p, nil
			}
		}
	}
	if packet != nil {
		return got, packet, nil
	}
	return answer{}, nil, err
}

// ask sends the query to one nameserver from a socket of its own, so that the source port and the id are both new
// (RFC 5452), and waits for the answer.
func (c *Client) ask(ctx context.Context, q *query, network string, server netip.AddrPort) (answer, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	var random [2]byte
	rand.Read(random[:])
	id := binary.BigEndian.Uint16(random[:])
	packet, err := q.forward(id)
	if err != nil {
		return answer{}, nil, err
	}
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, network, server.String())
	if err != nil {
		return answer{}, nil, err
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return answer{}, nil, err
	}
	if network == "tcp" {
		if err := writeFrame(conn, packet); err != nil {
			return answer{}, nil, err
		}
		reply, err := readFrame(conn, 1<<16-1)
		if err != nil {
			return answer{}, nil, err
		}
		a, err := parseAnswer(reply, id, q.question)
		return a, reply, err
	}
	if _, err := conn.Write(packet); err != nil {
		return answer{}, nil, err
	}
	buf := make([]byte, q.size)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return answer{}, nil, err
		}
		// What does not belong to the query may be forged: the true answer may still come.
		a, err := parseAnswer(buf[:n], id, q.question)
		if err == nil {
			return a, buf[:n], nil
		}
	}
}

// writeFrame and readFrame carry messages over TCP (RFC 1035 4.2.2).
func writeFrame(w io.Writer, packet []byte) error {
	if len(packet) >= 1<<16 {
		return fmt.Errorf("a message of %d bytes does not fit a frame", len(packet))
	}
	_, err := w.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(packet))), packet...))
	return err
}

func readFrame(r io.Reader, limit int) ([]byte, error) {
	var size [2]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, err
	}
	n := int(binary.BigEndian.Uint16(size[:]))
	if n > limit {
		return nil, fmt.Errorf("a message of %d bytes is over the bound of %d", n, limit)
	}
	packet := make([]byte, n)
	_, err := io.ReadFull(r, packet)
	return packet, err
}
