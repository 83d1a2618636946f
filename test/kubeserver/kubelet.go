package kubeserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/creack/pty"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cri-streaming/pkg/streaming/portforward"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
	utilexec "k8s.io/utils/exec"
)

// Kubelet is the part of a node that exec, attach and port-forward reach: the server that container runtimes have for
// them (k8s.io/cri-streaming), whose commands run on this machine, in a folder that is their container's.
type Kubelet struct {
	server *httptest.Server
	dir    string

	mu   sync.Mutex // guards runs
	runs []Run
}

// Run is what a container was told to run.
type Run struct {
	Container string
	Argv      []string
	TTY       bool
	Stdin     bool
	// Attach says that it was its own process that was attached to.
	Attach bool
}

// StartKubelet makes a node in the API server's eyes. Its containers' files are in dir.
func (s *Server) StartKubelet(ctx context.Context, node, dir string) (*Kubelet, error) {
	k := &Kubelet{dir: dir}
	k.server = httptest.NewTLSServer(http.HandlerFunc(k.serve))
	_, port, err := net.SplitHostPort(k.server.Listener.Addr().String())
	if err != nil {
		return nil, err
	}
	number, err := strconv.ParseInt(port, 10, 32)
	if err != nil {
		return nil, err
	}
	made, err := s.Client.CoreV1().Nodes().Create(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: node}}, metav1.CreateOptions{})
	if err != nil {
		return nil, err
	}
	made.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "127.0.0.1"}}
	made.Status.DaemonEndpoints.KubeletEndpoint.Port = int32(number)
	if _, err := s.Client.CoreV1().Nodes().UpdateStatus(ctx, made, metav1.UpdateOptions{}); err != nil {
		return nil, err
	}
	return k, nil
}

// Stop ends its server.
func (k *Kubelet) Stop() {
	k.server.CloseClientConnections()
	k.server.Close()
}

// Pod makes a pod that runs on the node.
func (s *Server) Pod(ctx context.Context, namespace, name, node string, containers ...string) error {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Spec: corev1.PodSpec{NodeName: node}}
	var statuses []corev1.ContainerStatus
	for _, c := range containers {
		pod.Spec.Containers = append(pod.Spec.Containers, corev1.Container{Name: c, Image: "none", Stdin: true})
		statuses = append(statuses, corev1.ContainerStatus{Name: c, Ready: true, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}})
	}
	made, err := s.Client.CoreV1().Pods(namespace).Create(ctx, pod, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	made.Status.Phase, made.Status.ContainerStatuses = corev1.PodRunning, statuses
	made.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
	_, err = s.Client.CoreV1().Pods(namespace).UpdateStatus(ctx, made, metav1.UpdateOptions{})
	return err
}

// Runs are what containers were told to run so far.
func (k *Kubelet) Runs() []Run {
	k.mu.Lock()
	defer k.mu.Unlock()
	return append([]Run(nil), k.runs...)
}

// idle is longer than any test.
const idle = time.Hour

// serve has the paths of a kubelet's own server: /exec/NAMESPACE/POD/CONTAINER and its like.
func (k *Kubelet) serve(w http.ResponseWriter, r *http.Request) {
	part := strings.Split(strings.TrimPrefix(r.URL.Path, "/"), "/")
	if len(part) < 3 {
		http.NotFound(w, r)
		return
	}
	protocols := []string{"v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io"}
	if part[0] == "portForward" {
		options, err := portforward.NewV4Options(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		portforward.ServePortForward(w, r, k, part[2], "", options, idle, idle, []string{"portforward.k8s.io"})
		return
	}
	if part[0] == "containerLogs" {
		k.logs(w, r)
		return
	}
	options, err := remotecommand.NewOptions(r)
	if err != nil || len(part) < 4 {
		http.Error(w, fmt.Sprint(err), http.StatusBadRequest)
		return
	}
	switch part[0] {
	case "exec":
		remotecommand.ServeExec(w, r, k, part[2], "", part[3], r.URL.Query()["command"], options, idle, idle, protocols)
	case "attach":
		remotecommand.ServeAttach(w, r, k, part[2], "", part[3], options, idle, idle, protocols)
	default:
		http.NotFound(w, r)
	}
}

// Daemon is the name of a container whose log goes on when it is followed.
const Daemon = "daemon"

// logs writes three lines, one a moment after the other; no more bytes than are asked for.
func (k *Kubelet) logs(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/plain")
	left := math.MaxInt
	if limit := r.URL.Query().Get("limitBytes"); limit != "" {
		n, err := strconv.Atoi(limit)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		left = n
	}
	for i := range 3 {
		line := fmt.Sprintf("line %d of card 4111 1111 1111 1111\n", i)
		line = line[:min(left, len(line))]
		left -= len(line)
		_, _ = io.WriteString(w, line)
		_ = http.NewResponseController(w).Flush()
		select {
		case <-r.Context().Done():
			return
		case <-time.After(20 * time.Millisecond):
		}
	}
	if r.URL.Query().Get("follow") == "true" && strings.HasSuffix(r.URL.Path, "/"+Daemon) {
		<-r.Context().Done()
	}
}

func (k *Kubelet) note(r Run) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.runs = append(k.runs, r)
}

// ExecInContainer implements remotecommand.Executor.
func (k *Kubelet) ExecInContainer(ctx context.Context, _, _, container string, argv []string, in io.Reader, out, err io.WriteCloser, tty bool, resize <-chan remotecommand.TerminalSize, _ time.Duration) error {
	k.note(Run{Container: container, Argv: argv, TTY: tty, Stdin: in != nil})
	return k.run(ctx, argv, in, out, err, tty, resize)
}

// own is every container's own process.
const own = `while read -r line; do echo "heard $line"; [ "$line" = stop ] && exit 0; done`

// AttachContainer implements remotecommand.Attacher.
func (k *Kubelet) AttachContainer(ctx context.Context, _, _, container string, in io.Reader, out, err io.WriteCloser, tty bool, resize <-chan remotecommand.TerminalSize) error {
	k.note(Run{Container: container, TTY: tty, Stdin: in != nil, Attach: true})
	return k.run(ctx, []string{"sh", "-c", own}, in, out, err, tty, resize)
}

func (k *Kubelet) run(ctx context.Context, argv []string, in io.Reader, out, errs io.WriteCloser, tty bool, resize <-chan remotecommand.TerminalSize) error {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir = k.dir
	cmd.Env = append(os.Environ(), "PS1=$ ", "TERM=xterm")
	cmd.WaitDelay = time.Second
	if tty {
		return k.terminal(cmd, in, out, resize)
	}
	if in != nil {
		pipe, err := cmd.StdinPipe()
		if err != nil {
			return err
		}
		go func() {
			_, _ = io.Copy(pipe, in)
			pipe.Close()
		}()
	}
	if out != nil {
		cmd.Stdout = out
	}
	if errs != nil {
		cmd.Stderr = errs
	}
	return status(cmd.Run())
}

func (k *Kubelet) terminal(cmd *exec.Cmd, in io.Reader, out io.Writer, resize <-chan remotecommand.TerminalSize) error {
	p, err := pty.StartWithSize(cmd, &pty.Winsize{Cols: 80, Rows: 24})
	if err != nil {
		return err
	}
	over, resized := make(chan struct{}), make(chan struct{})
	defer func() { // its size may not change while it is closed
		close(over)
		<-resized
		p.Close()
	}()
	go func() {
		defer close(resized)
		for {
			select {
			case size, more := <-resize:
				if !more {
					return
				}
				_ = pty.Setsize(p, &pty.Winsize{Cols: size.Width, Rows: size.Height})
			case <-over:
				return
			}
		}
	}()
	if in != nil {
		go func() { _, _ = io.Copy(p, in) }()
	}
	if out != nil {
		_, _ = io.Copy(out, p)
	}
	return status(cmd.Wait())
}

func status(err error) error {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return &utilexec.ExitErrorWrapper{ExitError: exit}
	}
	return err
}

// PortForward implements portforward.PortForwarder: a pod's ports are this machine's.
func (k *Kubelet) PortForward(ctx context.Context, _, _ string, port int32, stream io.ReadWriteCloser) error {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(int(port))))
	if err != nil {
		return err
	}
	defer conn.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(conn, stream)
		_ = conn.(*net.TCPConn).CloseWrite()
	}()
	_, err = io.Copy(stream, conn)
	return err
}
