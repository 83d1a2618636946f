package kube

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
)

// upstream is the API server of one destination as one account sees it. It is good for one request: a token is
// renewed, a lease withdrawn.
type upstream struct {
	host      string // the policy's name for it, by which its certificate is verified
	token     string
	tls       *tls.Config
	transport *http.Transport
	dial      func(context.Context) (net.Conn, error)
}

// upstreams are the pools of connections, by what makes them unlike.
type upstreams struct {
	mu    sync.Mutex // guards pools
	pools map[string]*http.Transport
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
	var (
		ca          []byte
		certificate []tls.Certificate
		err         error
	)
	name, key := u.host, ""
	if settings := x.rules.Kubernetes(); settings.HasLease {
		lease, err := x.session.Credentials.Lease(ctx, settings.Lease.Policy, settings.Lease.Target)
		if err != nil {
			return nil, err
		}
		u.token, ca = lease.Token, lease.CAPEM
		if lease.ServerName != "" {
			name = lease.ServerName
		}
		if len(lease.CertificatePEM) > 0 {
			pair, err := tls.X509KeyPair(lease.CertificatePEM, lease.KeyPEM)
			if err != nil {
				return nil, fmt.Errorf("the client certificate of target %s cannot be read", settings.Lease.Target)
			}
			certificate = []tls.Certificate{pair}
			key = digestOf(string(lease.CertificatePEM), string(lease.KeyPEM))
		}
	} else if u.token, ca, err = x.account.current(); err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		return nil, errors.New("the API server's root holds no certificate")
	}
	u.tls = &tls.Config{ServerName: name, RootCAs: roots, Certificates: certificate, MinVersion: tls.VersionTLS12}
	sum := sha256.Sum256(ca)
	u.transport = x.upstreams.of(fmt.Sprint(u.host, " ", x.rules.Port(), " ", name, " ", hex.EncodeToString(sum[:]), " ", key), u.tls, x.opts.ConnectTimeout)
	return u, nil
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

// of returns the pool of the key.
func (u *upstreams) of(key string, config *tls.Config, handshake time.Duration) *http.Transport {
	u.mu.Lock()
	defer u.mu.Unlock()
	if t := u.pools[key]; t != nil {
		return t
	}
	for old, t := range u.pools {
		if len(u.pools) < maxPools {
			break
		}
		t.CloseIdleConnections()
		delete(u.pools, old)
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	t := &http.Transport{
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
	if u.pools == nil {
		u.pools = make(map[string]*http.Transport)
	}
	u.pools[key] = t
	return t
}

// connect opens a connection of its own for a request that is to be upgraded.
func (u *upstream) connect(ctx context.Context, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	conn, err := u.dial(ctx)
	if err != nil {
		return nil, err
	}
	config := u.tls.Clone()
	config.NextProtos = []string{"http/1.1"}
	secured := tls.Client(conn, config)
	if err := secured.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, err
	}
	return secured, nil
}

// authorize presents the credential.
func (u *upstream) authorize(h http.Header) {
	if u.token != "" {
		h.Set("Authorization", "Bearer "+u.token)
	}
}
