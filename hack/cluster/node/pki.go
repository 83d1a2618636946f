package node

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// makePKI has kubeadm make the certificates, keys and kubeconfig files.
func (n Node) makePKI(ctx context.Context) error {
	config := filepath.Join(n.config(), "kubeadm.yaml")
	for _, args := range [][]string{
		{"init", "phase", "certs", "all", "--config", config},
		{"init", "phase", "kubeconfig", "all", "--config", config, "--kubeconfig-dir", n.config()},
	} {
		if _, err := n.run(ctx, "kubeadm", args...); err != nil {
			return err
		}
	}
	proxy, err := n.run(ctx, "kubeadm", "kubeconfig", "user", "--config", config, "--client-name", "system:kube-proxy")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(n.config(), "kube-proxy.conf"), proxy, 0o600); err != nil {
		return fmt.Errorf("writing kube-proxy's kubeconfig: %w", err)
	}
	return nil
}

// run runs one of the cluster's programs to its end and returns what it says.
func (n Node) run(ctx context.Context, name string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, n.Folder.Bin(name), args...)
	cmd.Env = n.Environment()
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return out, nil
}

// hostKubeconfig is the administrator's kubeconfig with the address that the
// supervisor listens on.
func (n Node) hostKubeconfig(listen string) error {
	data, err := os.ReadFile(filepath.Join(n.config(), "admin.conf"))
	if err != nil {
		return fmt.Errorf("reading the administrator's kubeconfig: %w", err)
	}
	inside := fmt.Sprintf("server: https://%s:6443", address4)
	if !strings.Contains(string(data), inside) {
		return fmt.Errorf("kubeadm's kubeconfig does not name the server %s", inside)
	}
	text := strings.Replace(string(data), inside, "server: https://"+listen, 1)
	if err := os.WriteFile(n.Folder.Kubeconfig(), []byte(text), 0o600); err != nil {
		return fmt.Errorf("writing the kubeconfig: %w", err)
	}
	return nil
}
