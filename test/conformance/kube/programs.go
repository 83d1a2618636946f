package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/util/exec"
	"k8s.io/client-go/util/retry"
)

var programs = []program{
	{"a watch ends when its time is over and goes on from its version", watchProgram},
	{"an informer sees what happens", informerProgram},
	{"an informer sees what happens in protobuf", func(ctx context.Context, config *rest.Config, namespace string) (string, error) {
		config.ContentType, config.AcceptContentTypes = "application/vnd.kubernetes.protobuf", "application/vnd.kubernetes.protobuf,application/json"
		return informerProgram(ctx, config, namespace)
	}},
	{"two candidates elect one leader and then the other", electionProgram},
	{"a conflict is retried", conflictProgram},
	{"the dynamic client reads and writes", dynamicProgram},
	{"remotecommand over WebSocket", func(ctx context.Context, config *rest.Config, namespace string) (string, error) {
		return remoteProgram(ctx, config, namespace, webSocketExecutor)
	}},
	{"remotecommand over SPDY", func(ctx context.Context, config *rest.Config, namespace string) (string, error) {
		return remoteProgram(ctx, config, namespace, spdyExecutor)
	}},
	{"remotecommand falls back", func(ctx context.Context, config *rest.Config, namespace string) (string, error) {
		return remoteProgram(ctx, config, namespace, fallbackExecutor)
	}},
}

func watchProgram(ctx context.Context, config *rest.Config, namespace string) (string, error) {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return "", err
	}
	maps := client.CoreV1().ConfigMaps(namespace)
	first, err := maps.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "watched"}}, metav1.CreateOptions{})
	if err != nil {
		return "", err
	}
	var out strings.Builder
	seconds := int64(2)
	selector := metav1.ListOptions{FieldSelector: "metadata.name=watched", ResourceVersion: first.ResourceVersion, TimeoutSeconds: &seconds, AllowWatchBookmarks: true}
	for round := range 2 {
		w, err := maps.Watch(ctx, selector)
		if err != nil {
			return out.String(), err
		}
		first.Data = map[string]string{"round": fmt.Sprint(round)}
		if first, err = maps.Update(ctx, first, metav1.UpdateOptions{}); err != nil {
			return out.String(), err
		}
		for e := range w.ResultChan() {
			if e.Type == watch.Bookmark {
				continue
			}
			object := e.Object.(*corev1.ConfigMap)
			selector.ResourceVersion = object.ResourceVersion
			fmt.Fprintln(&out, round, e.Type, object.Name, object.Data)
		}
		fmt.Fprintln(&out, round, "ended")
	}
	if err := maps.Delete(ctx, "watched", metav1.DeleteOptions{}); err != nil {
		return out.String(), err
	}
	selector.ResourceVersion = "1"
	w, err := maps.Watch(ctx, selector)
	if err != nil {
		fmt.Fprintln(&out, "an old version:", err)
		return out.String(), nil
	}
	defer w.Stop()
	e := <-w.ResultChan()
	fmt.Fprintln(&out, "an old version:", e.Type)
	return out.String(), nil
}

func informerProgram(ctx context.Context, config *rest.Config, namespace string) (string, error) {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	events := make(chan string, 16)
	factory := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithNamespace(namespace), informers.WithTweakListOptions(func(o *metav1.ListOptions) {
		o.LabelSelector = "informed=yes"
	}))
	informer := factory.Core().V1().ConfigMaps().Informer()
	if _, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { events <- "added " + o.(*corev1.ConfigMap).Name },
		UpdateFunc: func(_, o any) { events <- fmt.Sprint("updated ", o.(*corev1.ConfigMap).Data) },
		DeleteFunc: func(any) { events <- "deleted" },
	}); err != nil {
		return "", err
	}
	factory.Start(ctx.Done())
	if !cache.WaitForCacheSync(ctx.Done(), informer.HasSynced) {
		return "", errors.New("the cache was never in sync")
	}
	maps := client.CoreV1().ConfigMaps(namespace)
	object := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "informed", Labels: map[string]string{"informed": "yes"}}}
	var out strings.Builder
	next := func(err error) error {
		if err != nil {
			return err
		}
		select {
		case e := <-events:
			fmt.Fprintln(&out, e)
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	_, err = maps.Create(ctx, object, metav1.CreateOptions{})
	if err := next(err); err != nil {
		return out.String(), err
	}
	object.Data = map[string]string{"a": "1"}
	_, err = maps.Update(ctx, object, metav1.UpdateOptions{})
	if err := next(err); err != nil {
		return out.String(), err
	}
	err = next(maps.Delete(ctx, object.Name, metav1.DeleteOptions{}))
	return out.String(), err
}

func electionProgram(ctx context.Context, config *rest.Config, namespace string) (string, error) {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return "", err
	}
	elected := make(chan string, 4)
	candidate := func(ctx context.Context, name string) {
		leaderelection.RunOrDie(ctx, leaderelection.LeaderElectionConfig{
			Lock: &resourcelock.LeaseLock{
				LeaseMeta: metav1.ObjectMeta{Namespace: namespace, Name: "elected"}, Client: client.CoordinationV1(),
				LockConfig: resourcelock.ResourceLockConfig{Identity: name},
			},
			LeaseDuration: 4 * time.Second, RenewDeadline: 3 * time.Second, RetryPeriod: 500 * time.Millisecond, ReleaseOnCancel: true,
			Callbacks: leaderelection.LeaderCallbacks{
				OnStartedLeading: func(context.Context) { elected <- name },
				OnStoppedLeading: func() {},
			},
		})
	}
	first, stop := context.WithCancel(ctx)
	defer stop()
	go candidate(first, "one")
	var out strings.Builder
	await := func() error {
		select {
		case name := <-elected:
			fmt.Fprintln(&out, "elected", name)
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if err := await(); err != nil {
		return out.String(), err
	}
	second, end := context.WithCancel(ctx)
	defer end()
	go candidate(second, "two")
	stop()
	err = errors.Join(await(), client.CoordinationV1().Leases(namespace).Delete(ctx, "elected", metav1.DeleteOptions{}))
	return out.String(), err
}

func conflictProgram(ctx context.Context, config *rest.Config, namespace string) (string, error) {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return "", err
	}
	maps := client.CoreV1().ConfigMaps(namespace)
	old, err := maps.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "contended"}}, metav1.CreateOptions{})
	if err != nil {
		return "", err
	}
	newer := old.DeepCopy()
	newer.Data = map[string]string{"by": "another"}
	if _, err := maps.Update(ctx, newer, metav1.UpdateOptions{}); err != nil {
		return "", err
	}
	var out strings.Builder
	attempt := 0
	err = retry.RetryOnConflict(retry.DefaultRetry, func() error {
		if attempt++; attempt > 1 {
			if old, err = maps.Get(ctx, "contended", metav1.GetOptions{}); err != nil {
				return err
			}
		}
		_, err := maps.Update(ctx, old, metav1.UpdateOptions{})
		fmt.Fprintln(&out, attempt, err)
		return err
	})
	return out.String(), errors.Join(err, maps.Delete(ctx, "contended", metav1.DeleteOptions{}))
}

func dynamicProgram(ctx context.Context, config *rest.Config, namespace string) (string, error) {
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return "", err
	}
	pods := client.Resource(corev1.SchemeGroupVersion.WithResource("pods")).Namespace(namespace)
	pod, err := pods.Get(ctx, "runner", metav1.GetOptions{})
	if err != nil {
		return "", err
	}
	_, missing := pods.Get(ctx, "nothing", metav1.GetOptions{})
	_, invalid := pods.Create(ctx, pod, metav1.CreateOptions{})
	return fmt.Sprintln(pod.GetName(), pod.GetLabels(), missing, invalid), nil
}

type executor func(config *rest.Config, request *rest.Request) (remotecommand.Executor, error)

func webSocketExecutor(config *rest.Config, request *rest.Request) (remotecommand.Executor, error) {
	return remotecommand.NewWebSocketExecutor(config, http.MethodGet, request.URL().String())
}

func spdyExecutor(config *rest.Config, request *rest.Request) (remotecommand.Executor, error) {
	return remotecommand.NewSPDYExecutor(config, http.MethodPost, request.URL())
}

func fallbackExecutor(config *rest.Config, request *rest.Request) (remotecommand.Executor, error) {
	spdy, err := spdyExecutor(config, request)
	if err != nil {
		return nil, err
	}
	socket, err := webSocketExecutor(config, request)
	if err != nil {
		return nil, err
	}
	return remotecommand.NewFallbackExecutor(socket, spdy, func(error) bool { return true })
}

// sizes are what a terminal says of its size.
type sizes struct {
	next chan remotecommand.TerminalSize
}

func (s sizes) Next() *remotecommand.TerminalSize {
	size, ok := <-s.next
	if !ok {
		return nil
	}
	return &size
}

func remoteProgram(ctx context.Context, config *rest.Config, namespace string, executing executor) (string, error) {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return "", err
	}
	var out strings.Builder
	for _, try := range []struct {
		name  string
		argv  []string
		stdin string
		tty   bool
	}{
		{"both streams", []string{"sh", "-c", "echo out; echo err >&2"}, "", false},
		{"an exit code", []string{"sh", "-c", "exit 42"}, "", false},
		{"standard input of four megabytes", []string{"sha256sum"}, strings.Repeat("0123456789abcdef", 1<<18), false},
		{"an early end", []string{"sh", "-c", "read x; echo $x"}, "a line\n" + strings.Repeat("more\n", 1<<12), false},
		{"a terminal", []string{"sh", "-c", "sleep 1; stty size"}, "", true},
		{"no such program", []string{"nothing"}, "", false},
	} {
		request := client.CoreV1().RESTClient().Post().Resource("pods").Namespace(namespace).Name("runner").SubResource("exec").
			VersionedParams(&corev1.PodExecOptions{
				Container: "main", Command: try.argv, Stdin: try.stdin != "", Stdout: true, Stderr: !try.tty, TTY: try.tty,
			}, scheme.ParameterCodec)
		e, err := executing(config, request)
		if err != nil {
			return out.String(), err
		}
		var stdout, stderr bytes.Buffer
		options := remotecommand.StreamOptions{Stdout: &stdout, Tty: try.tty}
		if try.stdin != "" {
			options.Stdin = strings.NewReader(try.stdin)
		}
		if try.tty {
			size := sizes{next: chanOf(remotecommand.TerminalSize{Width: 111, Height: 44})}
			options.TerminalSizeQueue = size
		} else {
			options.Stderr = &stderr
		}
		err = e.StreamWithContext(ctx, options)
		code := -1
		var exit exec.CodeExitError
		if errors.As(err, &exit) {
			code = exit.Code
		}
		fmt.Fprintf(&out, "%s: %d %.8x %q %q code %d, %v\n", try.name, stdout.Len(), sha256.Sum256(stdout.Bytes()), head(stdout.String()), head(stderr.String()), code, err)
	}
	return strings.ReplaceAll(out.String(), "error: ", "error "), nil
}

func chanOf[T any](values ...T) chan T {
	c := make(chan T, len(values))
	for _, v := range values {
		c <- v
	}
	close(c)
	return c
}

func head(text string) string { return text[:min(len(text), 200)] }
