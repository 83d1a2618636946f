package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/chaperone-dev/chaperone/sidecar/trust"
	"github.com/chaperone-dev/chaperone/test/bench/kube/wiring"
	"github.com/chaperone-dev/chaperone/test/bench/measured"
	"github.com/chaperone-dev/chaperone/test/bench/process"
	"github.com/chaperone-dev/chaperone/test/kubeserver"
)

const namespace = "bench"

// peer is a way to the API server.
type peer struct {
	name   string
	config *rest.Config
	client kubernetes.Interface
}

// lab is the API server with both ways to it.
type lab struct {
	server  *kubeserver.Server
	kubelet *kubeserver.Kubelet
	sidecar *process.Process
	peers   []*peer // direct, and through the sidecar
	folder  string
	listed  bool // the pods of the long list are there
}

func newLab(ctx context.Context, o *process.Options) (l *lab, err error) {
	l = &lab{}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.close())
		}
	}()
	if l.server, err = kubeserver.Start(); err != nil {
		return l, err
	}
	if l.folder, err = os.MkdirTemp("", "chaperone-bench-"); err != nil {
		return l, err
	}
	object := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}
	if _, err := l.server.Client.CoreV1().Namespaces().Create(ctx, object, metav1.CreateOptions{}); err != nil {
		return l, err
	}
	if l.kubelet, err = l.server.StartKubelet(ctx, "node", l.folder); err != nil {
		return l, err
	}
	if err := l.server.Pod(ctx, namespace, "runner", "node", "main"); err != nil {
		return l, err
	}
	settings := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "settings"}, Data: map[string]string{"colour": "blue"}}
	if _, err := l.server.Client.CoreV1().ConfigMaps(namespace).Create(ctx, settings, metav1.CreateOptions{}); err != nil {
		return l, err
	}
	if err := l.files(); err != nil {
		return l, err
	}
	token, err := l.server.Account(ctx, namespace, "agent", kubeserver.Everything())
	if err != nil {
		return l, err
	}
	through, err := l.startSidecar(ctx, token, o)
	if err != nil {
		return l, err
	}
	direct := &rest.Config{Host: l.server.Admin.Host, BearerToken: token, TLSClientConfig: rest.TLSClientConfig{CAData: l.server.CAPEM()}}
	for _, p := range []*peer{{name: "direct", config: direct}, {name: "sidecar", config: through}} {
		p.config.QPS = -1
		if p.client, err = kubernetes.NewForConfig(p.config); err != nil {
			return l, err
		}
		l.peers = append(l.peers, p)
	}
	return l, nil
}

// files are what containers print: lines of a log, with an address for the detectors in each of a thousand.
func (l *lab) files() error {
	var lines bytes.Buffer
	for i := range 20_000 {
		fmt.Fprintf(&lines, "2026-11-26T00:00:%02d.%03dZ INFO request id=%08x path=/api/v1/orders/%d status=200 duration=%dms\n", i%60, i%1000, i*2654435761, i, i%97)
		if i%1000 == 0 {
			fmt.Fprintf(&lines, "2026-11-26T00:00:00.000Z WARN mail to user%d@example.com bounced\n", i)
		}
	}
	return os.WriteFile(filepath.Join(l.folder, "log"), lines.Bytes(), 0o644)
}

func (l *lab) startSidecar(ctx context.Context, token string, o *process.Options) (*rest.Config, error) {
	folder := filepath.Join(l.folder, "sidecar")
	if err := errors.Join(
		os.Mkdir(folder, 0o700),
		os.WriteFile(filepath.Join(folder, "kube-token"), []byte(token), 0o600),
		os.WriteFile(filepath.Join(folder, "kube-ca.crt"), l.server.CAPEM(), 0o600),
	); err != nil {
		return nil, err
	}
	program := filepath.Join(folder, "program")
	if err := measured.Build(ctx, "github.com/chaperone-dev/chaperone/test/bench/kube/sidecar", program); err != nil {
		return nil, err
	}
	authority, err := trust.LoadAuthority(folder, wiring.Pod)
	if err != nil {
		return nil, err
	}
	var at netip.AddrPort
	l.sidecar, at, err = measured.Start(ctx, program, wiring.Wiring{Upstream: l.server.Address, Folder: folder, Profile: o.Profile})
	if err != nil {
		return nil, err
	}
	return &rest.Config{Host: "https://" + at.String(), BearerToken: kubeserver.Placeholder, TLSClientConfig: rest.TLSClientConfig{CAData: authority.PEM()}}, nil
}

func (l *lab) close() error {
	if l.sidecar != nil {
		l.sidecar.End(syscall.SIGTERM)
	}
	if l.kubelet != nil {
		l.kubelet.Stop()
	}
	var err error
	if l.server != nil {
		err = l.server.Stop()
	}
	if l.folder != "" {
		err = errors.Join(err, os.RemoveAll(l.folder))
	}
	return err
}

// manyPods makes the pods of the long list.
func (l *lab) manyPods(ctx context.Context, n int) error {
	if l.listed {
		return nil
	}
	l.listed = true
	next := make(chan int)
	var all sync.WaitGroup
	failures := make([]error, 8)
	for worker := range failures {
		all.Go(func() {
			for i := range next {
				pod := &corev1.Pod{
					ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("web-%05d", i), Labels: map[string]string{"app": "web", "tier": "front"}},
					Spec: corev1.PodSpec{Containers: []corev1.Container{{
						Name: "main", Image: "registry.example.com/shop/web:1.27.3", Env: []corev1.EnvVar{{Name: "A", Value: "1"}},
					}}},
				}
				if _, err := l.server.Client.CoreV1().Pods("default").Create(ctx, pod, metav1.CreateOptions{}); err != nil {
					failures[worker] = err
				}
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	all.Wait()
	return errors.Join(failures...)
}

// measure lets both peers take turns, and returns a row of the table.
func (l *lab) measure(ctx context.Context, c benchCase, o *process.Options) (string, error) {
	run := &c
	if o.Short {
		run = c.small()
	}
	if run.prepare != nil {
		if err := run.prepare(ctx, l, run); err != nil {
			return "", err
		}
	}
	way := func(p *peer) process.Peer {
		return process.Peer{Name: p.name, Work: func() error { return run.work(ctx, l, p, run) }}
	}
	turns := process.Turns{
		Label: run.name, Direct: way(l.peers[0]), Through: way(l.peers[1]), Sidecar: l.sidecar, Rounds: o.Rounds, Size: run.size, Items: run.items,
	}
	return turns.Row()
}
