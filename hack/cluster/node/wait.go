package node

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"time"
)

// waitForAPIServer returns when the API server says that it is ready. Anybody
// may ask that (ClusterRole system:public-info-viewer), and the answer is no
// secret, so its certificate is not looked at.
func waitForAPIServer(ctx context.Context) error {
	client := &http.Client{
		Timeout:   2 * time.Second,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}},
	}
	defer client.CloseIdleConnections()
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+APIServer+"/readyz", nil)
		if err != nil {
			return fmt.Errorf("asking the API server: %w", err)
		}
		response, err := client.Do(request)
		if err == nil {
			response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return nil
			}
		}
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			return &ProgramError{Program: "kube-apiserver", Err: fmt.Errorf("not ready: %w", err)}
		}
	}
}

// kubectl runs as the bootstrap administrator, the only one with rights before
// applyCluster.
func (n Node) kubectl(ctx context.Context, args ...string) error {
	_, err := n.run(ctx, "kubectl", append([]string{"--kubeconfig", filepath.Join(n.config(), "super-admin.conf")}, args...)...)
	return err
}

func (n Node) applyCluster(ctx context.Context) error {
	// A server that has just come up may still be making the namespace or the
	// priority classes that the manifests refer to.
	for {
		err := n.kubectl(ctx, "apply", "--server-side", "-f", filepath.Join(n.config(), "cluster.yaml"))
		if err == nil {
			return nil
		}
		if pause(ctx, 200*time.Millisecond) != nil {
			return err
		}
	}
}

// waitForCluster returns when pods can be created and can resolve names.
func (n Node) waitForCluster(ctx context.Context) error {
	left := time.Until(deadline(ctx)).Round(time.Second).String()
	for _, w := range []struct {
		program string
		args    []string
	}{
		{"kubelet", []string{"node/" + Name, "--for=create"}},
		{"kubelet", []string{"node/" + Name, "--for=condition=Ready"}},
		{"kube-controller-manager", []string{"serviceaccount/default", "--namespace=default", "--for=create"}},
		{"kubelet", []string{"deployment/coredns", "--namespace=kube-system", "--for=condition=Available"}},
	} {
		if err := n.kubectl(ctx, append([]string{"wait", "--timeout=" + left}, w.args...)...); err != nil {
			return &ProgramError{Program: w.program, Err: err}
		}
	}
	return waitForDNS(ctx)
}

// waitForDNS asks as a pod would, through the Service: CoreDNS calls itself
// ready before kube-proxy leads there.
func waitForDNS(ctx context.Context) error {
	resolver := &net.Resolver{
		PreferGo: true,
		Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, net.JoinHostPort(dnsAddress4, "53"))
		},
	}
	for {
		attempt, cancel := context.WithTimeout(ctx, time.Second)
		_, err := resolver.LookupHost(attempt, "kubernetes.default.svc."+clusterDomain+".")
		cancel()
		if err == nil {
			return nil
		}
		if pause(ctx, 50*time.Millisecond) != nil {
			return &ProgramError{Program: "kube-proxy", Err: fmt.Errorf("the cluster's names are not answered: %w", err)}
		}
	}
}

func deadline(ctx context.Context) time.Time {
	if d, ok := ctx.Deadline(); ok {
		return d
	}
	return time.Now().Add(startTimeout)
}
