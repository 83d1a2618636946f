package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/remotecommand"
)

// benchCase is work that is done once a round and peer.
type benchCase struct {
	name string
	// size is how many bytes are moved, items how many times something is done; one of them is not 0.
	size    int64
	items   int
	prepare func(ctx context.Context, l *lab, c *benchCase) error
	work    func(ctx context.Context, l *lab, p *peer, c *benchCase) error
}

// small is what a case does in a short run.
func (c benchCase) small() *benchCase {
	if c.size > 0 {
		c.size = max(c.size/64, 1<<20)
	}
	if c.items > 0 {
		c.items = max(c.items/10, 1)
	}
	return &c
}

const (
	megabyte = 1 << 20
	pods     = 5000
)

var cases = []benchCase{
	{name: "get a ConfigMap", items: 500, work: func(ctx context.Context, _ *lab, p *peer, c *benchCase) error {
		for range c.items {
			if _, err := p.client.CoreV1().ConfigMaps(namespace).Get(ctx, "settings", metav1.GetOptions{}); err != nil {
				return err
			}
		}
		return nil
	}},
	{
		name: "list 5,000 pods", items: 3,
		prepare: func(ctx context.Context, l *lab, _ *benchCase) error { return l.manyPods(ctx, pods) },
		work: func(ctx context.Context, _ *lab, p *peer, c *benchCase) error {
			for range c.items {
				list, err := p.client.CoreV1().Pods("default").List(ctx, metav1.ListOptions{})
				if err != nil {
					return err
				}
				if len(list.Items) != pods {
					return fmt.Errorf("%d pods", len(list.Items))
				}
			}
			return nil
		},
	},
	{name: "from a patch to its watch", items: 100, work: watched},
	{name: "exec `true` over WebSocket", items: 30, work: repeated(socket)},
	{name: "exec `true` over SPDY", items: 30, work: repeated(spdy)},
	{name: "exec output over WebSocket", size: 300 * megabyte, work: printed(socket)},
	{name: "exec output over SPDY", size: 300 * megabyte, work: printed(spdy)},
	{name: "copy into a container over WebSocket", size: 1024 * megabyte, work: copied(socket)},
	{name: "copy into a container over SPDY", size: 1024 * megabyte, work: copied(spdy)},
	{name: "copy out of a container over WebSocket", size: 1024 * megabyte, work: printed(socket)},
}

// watched takes the time from asking for a change to the event of it.
func watched(ctx context.Context, l *lab, p *peer, c *benchCase) error {
	maps := p.client.CoreV1().ConfigMaps(namespace)
	w, err := maps.Watch(ctx, metav1.ListOptions{FieldSelector: "metadata.name=settings"})
	if err != nil {
		return err
	}
	defer w.Stop()
	if e := <-w.ResultChan(); e.Type != watch.Added {
		return fmt.Errorf("a watch begins with %s", e.Type)
	}
	for i := range c.items {
		// The change is made past the sidecar for either peer.
		body := fmt.Appendf(nil, `{"data":{"colour":"%s-%d"}}`, p.name, i)
		if _, err := l.server.Client.CoreV1().ConfigMaps(namespace).Patch(ctx, "settings", types.MergePatchType, body, metav1.PatchOptions{}); err != nil {
			return err
		}
		if e := <-w.ResultChan(); e.Type != watch.Modified {
			return fmt.Errorf("the watch says %s", e.Type)
		}
	}
	return nil
}

type transport func(p *peer, options *corev1.PodExecOptions) (remotecommand.Executor, error)

func socket(p *peer, options *corev1.PodExecOptions) (remotecommand.Executor, error) {
	return remotecommand.NewWebSocketExecutor(p.config, http.MethodGet, p.execURL(options))
}

func spdy(p *peer, options *corev1.PodExecOptions) (remotecommand.Executor, error) {
	request := p.client.CoreV1().RESTClient().Post().Resource("pods").Namespace(namespace).Name("runner").SubResource("exec").VersionedParams(options, scheme.ParameterCodec)
	return remotecommand.NewSPDYExecutor(p.config, http.MethodPost, request.URL())
}

func (p *peer) execURL(options *corev1.PodExecOptions) string {
	return p.client.CoreV1().RESTClient().Get().Resource("pods").Namespace(namespace).Name("runner").SubResource("exec").VersionedParams(options, scheme.ParameterCodec).URL().String()
}

// execute runs a command in the container.
func execute(ctx context.Context, over transport, p *peer, stdin io.Reader, stdout io.Writer, argv ...string) error {
	e, err := over(p, &corev1.PodExecOptions{Container: "main", Command: argv, Stdin: stdin != nil, Stdout: true, Stderr: true})
	if err != nil {
		return err
	}
	var complaint strings.Builder
	if err := e.StreamWithContext(ctx, remotecommand.StreamOptions{Stdin: stdin, Stdout: stdout, Stderr: &complaint}); err != nil {
		return fmt.Errorf("%v: %w: %s", argv, err, complaint.String())
	}
	return nil
}

func repeated(over transport) func(context.Context, *lab, *peer, *benchCase) error {
	return func(ctx context.Context, _ *lab, p *peer, c *benchCase) error {
		for range c.items {
			if err := execute(ctx, over, p, nil, io.Discard, "true"); err != nil {
				return err
			}
		}
		return nil
	}
}

// counted counts what is printed.
type counted struct{ n int64 }

func (c *counted) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return len(p), nil
}

// printed reads a log of the size.
func printed(over transport) func(context.Context, *lab, *peer, *benchCase) error {
	return func(ctx context.Context, _ *lab, p *peer, c *benchCase) error {
		out := &counted{}
		command := fmt.Sprintf("while cat log 2>/dev/null; do true; done | head -c %d", c.size)
		if err := execute(ctx, over, p, nil, out, "sh", "-c", command); err != nil {
			return err
		}
		if out.n != c.size {
			return fmt.Errorf("%d bytes of %d came", out.n, c.size)
		}
		return nil
	}
}

// zeros are what is copied.
type zeros struct{ left int64 }

func (z *zeros) Read(p []byte) (int, error) {
	if z.left == 0 {
		return 0, io.EOF
	}
	n := int(min(int64(len(p)), z.left))
	clear(p[:n])
	z.left -= int64(n)
	return n, nil
}

func copied(over transport) func(context.Context, *lab, *peer, *benchCase) error {
	return func(ctx context.Context, _ *lab, p *peer, c *benchCase) error {
		var out strings.Builder
		if err := execute(ctx, over, p, &zeros{left: c.size}, &out, "wc", "-c"); err != nil {
			return err
		}
		if strings.TrimSpace(out.String()) != fmt.Sprint(c.size) {
			return errors.New("only " + out.String() + " bytes arrived")
		}
		return nil
	}
}
