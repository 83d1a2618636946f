package kube

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/session"
)

// upstream is the API server of one destination as one account sees it. It is good for one request: a token is
// renewed, a lease withdrawn.
type upstream struct {
	host  string // the policy's name for it, by which its certificate is verified
	token string
	pool  *pool
	dial  func(context.Context) (net.Conn, error)
}

// upstreams are the pools of connections, by what makes them unlike.
type upstreams struct {
	mu    sync.Mutex // guards pools
	pools map[poolKey]*pool
}

// poolKey is what makes pools unlike. Of roots and certificate it has digests.
type poolKey struct {
	host              string
	port              uint16
	name              string // in the API server's certificate
	roots, credential [sha256.Size]byte
}

// pool is an API server as it is authenticated in one way.
type pool struct {
	transport *http.Transport
	// upgraded is for connections that are upgraded, which HTTP/2 has no way for.
	upgraded *tls.Config
	spares   spares
}

const (
	// maxPools is more than a pod has API servers; a renewed root or certificate makes room.
	maxPools = 16
	// The windows of an HTTP/2 connection bound what is held for an agent that does not read.
	streamWindow     = 256 << 10
	connectionWindow = 4 << 20
	pingAfter        = 30 * time.Second
	pingTimeout      = 15 * time.Second
	upstreamIdle     = 90 * time.Second
)

// dialKey is under which a request's context carries the way upstream of its session: a pool outlives sessions.
type dialKey struct{}

// upstream finds the credential and the pool for a request.
func (x *exchange) upstream(ctx context.Context) (*upstream, error) {
	u := &upstream{host: hostOf(x.rules.Destination, x.session.Host), dial: x.session.DialUpstream}
	key := poolKey{host: u.host, port: x.rules.Port(), name: u.host}
	var (
		ca    []byte
		lease *session.Lease
		err   error
	)
	settings := x.rules.Kubernetes()
	if settings.HasLease {
		if lease, err = x.session.Credentials.Lease(ctx, settings.Lease.Policy, settings.Lease.Target); err != nil {
			return nil, err
		}
		u.token, ca = lease.Token, lease.CAPEM
		if lease.ServerName != "" {
			key.name = lease.ServerName
		}
		if len(lease.CertificatePEM) > 0 {
			key.credential = sha256.Sum256(slices.Concat(lease.CertificatePEM, []byte{0}, lease.KeyPEM))
		}
	} else if u.token, ca, err = x.account.current(); err != nil {
		return nil, err
	}
	key.roots = sha256.Sum256(ca)
	u.pool, err = x.upstreams.of(key, x.opts.ConnectTimeout, func() (*tls.Config, error) {
		config := &tls.Config{ServerName: key.name, RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS12, ClientSessionCache: tls.NewLRUClientSessionCache(2)}
		if !config.RootCAs.AppendCertsFromPEM(ca) {
			return nil, errors.New("the API server's root holds no certificate")
		}
		if lease != nil && len(lease.CertificatePEM) > 0 {
			pair, err := tls.X509KeyPair(lease.CertificatePEM, lease.KeyPEM)
			if err != nil {
				return nil, fmt.Errorf("the client certificate of target %s cannot be read", settings.Lease.Target)
			}
			config.Certificates = []tls.Certificate{pair}
		}
		return config, nil
	})
	return u, err
}

// hostOf is the policy's name for the API server: the one that the agent asked for, else the first.
func hostOf(d *policy.Destination, asked string) string {
	hosts := d.Hosts()
	for _, h := range hosts {
		if strings.EqualFold(h, strings.TrimSuffix(asked, ".")) {
			return h
		}
	}
	return hosts[0]
}

// of returns the pool of the key, made with the configuration where there is none yet.
func (u *upstreams) of(key poolKey, handshake time.Duration, configure func() (*tls.Config, error)) (*pool, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if p := u.pools[key]; p != nil {
		return p, nil
	}
	config, err := configure()
	if err != nil {
		return nil, err
	}
	for old, p := range u.pools {
		if len(u.pools) < maxPools {
			break
		}
		p.transport.CloseIdleConnections()
		delete(u.pools, old)
	}
	p := &pool{transport: newTransport(config, handshake), upgraded: config.Clone(), spares: spares{age: spareAge}}
	p.upgraded.NextProtos = []string{"http/1.1"}
	if u.pools == nil {
		u.pools = make(map[poolKey]*pool)
	}
	u.pools[key] = p
	return p, nil
}

func newTransport(config *tls.Config, handshake time.Duration) *http.Transport {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	return &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			dial, ok := ctx.Value(dialKey{}).(func(context.Context) (net.Conn, error))
			if !ok {
				return nil, errors.New("no way upstream")
			}
			return dial(ctx)
		},
		TLSClientConfig: config.Clone(), TLSHandshakeTimeout: handshake, Protocols: protocols,
		DisableCompression: true, IdleConnTimeout: upstreamIdle, MaxIdleConnsPerHost: 4, MaxResponseHeaderBytes: maxHeader,
		HTTP2: &http.HTTP2Config{
			MaxReceiveBufferPerStream: streamWindow, MaxReceiveBufferPerConnection: connectionWindow,
			SendPingTimeout: pingAfter, PingTimeout: pingTimeout,
		},
	}
}

// authorize presents the credential.
func (u *upstream) authorize(h http.Header) {
	if u.token != "" {
		h.Set("Authorization", "Bearer "+u.token)
	}
}
