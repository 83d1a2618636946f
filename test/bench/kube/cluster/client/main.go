// Command client gets a ConfigMap, or runs `true` in another pod's container, each time that it is told to, as what runs in a
// pod does it: with the account, the token and the root that the pod has been given. For each line that it reads, which says
// what is to be done, it prints how many nanoseconds that took.
package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/remotecommand"
)

func main() {
	if err := serve(); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

func serve() error {
	namespace, err := os.ReadFile("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
	if err != nil {
		return err
	}
	config, err := rest.InClusterConfig()
	if err != nil {
		return err
	}
	config.QPS = -1 // no limit: its default is five requests a second
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	at := client.CoreV1().RESTClient().Post().Resource("pods").Namespace(string(namespace)).Name("worker").SubResource("exec").
		VersionedParams(&corev1.PodExecOptions{Container: "main", Command: []string{"true"}, Stdout: true, Stderr: true}, scheme.ParameterCodec).URL()
	ways := map[string]func() error{
		"get by client-go": func() error {
			_, err := client.CoreV1().ConfigMaps(string(namespace)).Get(context.Background(), "kube-root-ca.crt", metav1.GetOptions{})
			return err
		},
		"get by kubectl": func() error { return kubectl("", "get", "configmap", "kube-root-ca.crt") },
		"exec by client-go over WebSocket": func() error {
			return stream(remotecommand.NewWebSocketExecutor(config, http.MethodGet, at.String()))
		},
		"exec by client-go over SPDY": func() error { return stream(remotecommand.NewSPDYExecutor(config, http.MethodPost, at)) },
		"exec by kubectl over WebSocket": func() error {
			return kubectl("KUBECTL_REMOTE_COMMAND_WEBSOCKETS=true", "exec", "worker", "-c", "main", "--", "true")
		},
		"exec by kubectl over SPDY": func() error {
			return kubectl("KUBECTL_REMOTE_COMMAND_WEBSOCKETS=false", "exec", "worker", "-c", "main", "--", "true")
		},
	}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		way := ways[lines.Text()]
		if way == nil {
			return fmt.Errorf("no way %q", lines.Text())
		}
		begin := time.Now()
		if err := way(); err != nil {
			return fmt.Errorf("%s: %w", lines.Text(), err)
		}
		fmt.Println(time.Since(begin).Nanoseconds())
	}
	return lines.Err()
}

func stream(e remotecommand.Executor, err error) error {
	if err != nil {
		return err
	}
	return e.StreamWithContext(context.Background(), remotecommand.StreamOptions{Stdout: io.Discard, Stderr: io.Discard})
}

func kubectl(environment string, args ...string) error {
	cmd := exec.Command("kubectl", args...)
	cmd.Env = append(os.Environ(), environment)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, strings.TrimSpace(string(bytes.ToValidUTF8(out, nil))))
	}
	return nil
}
