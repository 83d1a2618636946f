package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"time"

	"github.com/go-logr/logr"
	"golang.org/x/sync/errgroup"

	"github.com/chaperone-dev/chaperone/sidecar/control"
	"github.com/chaperone-dev/chaperone/sidecar/kube"
	"github.com/chaperone-dev/chaperone/sidecar/layout"
	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/policy/when"
	"github.com/chaperone-dev/chaperone/sidecar/postgres"
	"github.com/chaperone-dev/chaperone/sidecar/proxy"
	"github.com/chaperone-dev/chaperone/sidecar/proxy/dns"
	"github.com/chaperone-dev/chaperone/sidecar/record"
	"github.com/chaperone-dev/chaperone/sidecar/redirect/resolver"
	"github.com/chaperone-dev/chaperone/sidecar/resident"
	"github.com/chaperone-dev/chaperone/sidecar/script"
	"github.com/chaperone-dev/chaperone/sidecar/session"
	"github.com/chaperone-dev/chaperone/sidecar/ssh"
	"github.com/chaperone-dev/chaperone/sidecar/trust"
)

const (
	// spoolShare of the volume is the spool's; the rest is the file system's own.
	spoolShare = 0.9
	// farewell is how long the sidecar tries to send what is recorded when the pod ends. The kubelet gives native
	// sidecars at least two seconds (KEP-753), and more where the pod has more left.
	farewell = 20 * time.Second
	// hashKeyFile, in StatePath, keys the masking method Hash.
	hashKeyFile = "hash.key"
	// settled is how long after it is ready the sidecar has done what it does only once.
	settled = 5 * time.Second
)

// loopback is where the rules redirect to; nothing outside the pod reaches it. A node without IPv6 has no ::1, and
// then nothing is redirected there.
func loopback(ctx context.Context, port uint16) []netip.AddrPort {
	out := []netip.AddrPort{netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), port)}
	if probe, err := new(net.ListenConfig).ListenPacket(ctx, "udp6", "[::1]:0"); err == nil {
		probe.Close()
		out = append(out, netip.AddrPortFrom(netip.IPv6Loopback(), port))
	}
	return out
}

// run proxies until ctx ends, then sends what is recorded.
func run(ctx context.Context, log logr.Logger) error {
	resident.SpareHeap()
	pod, err := readPod()
	if err != nil {
		return err
	}
	settings, err := resolver.Load(layout.StatePath)
	if err != nil {
		return fmt.Errorf("the nameservers that the redirect container noted: %w", err)
	}
	published, err := publishTrust(pod)
	if err != nil {
		return err
	}
	hashKey, err := trust.LoadSecret(layout.StatePath, hashKeyFile)
	if err != nil {
		return err
	}
	conditions := when.New(layout.WhenBinary)
	defer conditions.Close()
	policy.Conditions = conditions.Compile
	policies, err := control.LoadPolicies(layout.StatePath, time.Now)
	if err != nil {
		log.Error(err, "The last policies cannot be used; nothing is allowed until the operator is reached")
	}
	nameservers := dns.NewClient(settings)
	broker, err := control.New(control.Options{
		Address: pod.broker, RootPEM: []byte(pod.brokerCA), TokenFile: filepath.Join(layout.IdentityPath, layout.TokenFile),
		Dial: proxy.Dialer(nameservers), Version: version, Log: log.WithName("control"),
	})
	if err != nil {
		return err
	}
	defer broker.Close()
	spool, err := record.Open(record.Options{
		Dir: layout.SpoolPath, Budget: int64(float64(pod.spoolBytes) * spoolShare), Uplink: broker, Log: log.WithName("record"),
	})
	if err != nil {
		return err
	}
	host, err := published.hostKeys.Signers()
	if err != nil {
		return err
	}
	names := dns.NewNames(time.Now)
	p := &proxy.Proxy{
		Rules: policies.Current, Search: settings, Names: names, Resolver: nameservers,
		Protocols: map[policy.Protocol]session.Protocol{
			policy.ProtocolPostgres:   postgres.New(postgres.Options{HashKey: hashKey, Role: broker.Role}),
			policy.ProtocolSSH:        ssh.New(ssh.Options{Host: host, Scripts: script.New(layout.ScriptBinary)}),
			policy.ProtocolKubernetes: kube.New(kube.Options{}),
		},
		Own:         pod.addresses,
		Leaf:        published.leaves.For,
		Credentials: broker, Approvals: broker,
		Record: func(o record.LogOptions) session.Recorder { return spool.Log(o).Recorder() },
		Log:    log.WithName("proxy"),
	}
	err = serve(ctx, log, p, &dns.Server{Client: nameservers, Names: names, Rule: p.RuleName}, broker, policies, published)

	log.Info("The sidecar ends")
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewell)
	defer cancel()
	if closing := spool.Close(last); closing != nil {
		log.Error(closing, "Recordings stay in the spool")
	}
	return err
}

// serve runs all parts until ctx ends or one of them fails. The startup probe passes once both listeners are there
// and a set of policies is: an agent never meets a sidecar that cannot judge.
func serve(ctx context.Context, log logr.Logger, p *proxy.Proxy, resolving *dns.Server, broker *control.Client, policies *control.Policies, published *trusted) error {
	group, ctx := errgroup.WithContext(ctx)
	proxying, answering := make(chan struct{}), make(chan struct{})
	changed, republish := make(chan struct{}, 1), make(chan struct{}, 1)
	group.Go(func() error { return whole(ctx, broker.Follow(ctx, policies)) })
	group.Go(func() error {
		return p.Serve(ctx, loopback(ctx, layout.ProxyPort), changed, func() { close(proxying) })
	})
	group.Go(func() error {
		return whole(ctx, resolving.Serve(ctx, loopback(ctx, layout.DNSPort), func() { close(answering) }))
	})
	group.Go(func() error {
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-policies.Changed():
				notify(changed)
				notify(republish)
			}
		}
	})
	group.Go(func() error {
		for {
			if rules, err := policies.Current(); err == nil {
				if err := published.write(rules); err != nil {
					log.Error(err, "What agents trust cannot be written")
				}
			}
			select {
			case <-ctx.Done():
				return nil
			case <-republish:
			}
		}
	})
	group.Go(func() error {
		for _, there := range []<-chan struct{}{proxying, answering, policies.Received()} {
			select {
			case <-ctx.Done():
				return nil
			case <-there:
			}
		}
		log.Info("The sidecar is ready")
		time.AfterFunc(settled, func() {
			if err := resident.Keep(ctx); err != nil {
				log.Info("The sidecar takes more memory than it needs", "error", err.Error())
			}
		})
		return sayReady(ctx)
	})
	return group.Wait()
}

// notify leaves one notice, whoever is slow to take it.
func notify(to chan<- struct{}) {
	select {
	case to <- struct{}{}:
	default:
	}
}

// whole takes the end of ctx for a good end.
func whole(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil //nolint:nilerr // what breaks once ctx has ended is the end that was asked for
	}
	return err
}
