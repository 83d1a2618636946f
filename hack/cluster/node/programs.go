package node

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/chaperone-dev/chaperone/hack/cluster/debian"
)

// program is one that runs for as long as the node does.
type program struct {
	name string
	args []string
}

func (n Node) etcd() program {
	return program{"etcd", []string{
		"--name=" + Name,
		"--data-dir=/var/lib/etcd",
		"--listen-client-urls=http://127.0.0.1:2379",
		"--advertise-client-urls=http://127.0.0.1:2379",
		"--listen-peer-urls=http://127.0.0.1:2380",
		"--initial-advertise-peer-urls=http://127.0.0.1:2380",
		"--initial-cluster=" + Name + "=http://127.0.0.1:2380",
		"--log-level=warn",
		// The data is thrown away when the cluster goes down.
		"--unsafe-no-fsync",
	}}
}

func (n Node) containerd() program {
	return program{"containerd", []string{"--config", filepath.Join(n.config(), "containerd.toml"), "--log-level", "info"}}
}

func (n Node) apiServer() program {
	pki := n.pki()
	return program{"kube-apiserver", []string{
		"--advertise-address=" + address4,
		"--allow-privileged=true",
		"--audit-log-path=" + n.Folder.Log("audit"),
		"--audit-policy-file=" + filepath.Join(n.config(), "audit.yaml"),
		"--authorization-mode=Node,RBAC",
		"--client-ca-file=" + pki + "/ca.crt",
		"--enable-admission-plugins=NodeRestriction",
		"--etcd-servers=http://127.0.0.1:2379",
		"--kubelet-client-certificate=" + pki + "/apiserver-kubelet-client.crt",
		"--kubelet-client-key=" + pki + "/apiserver-kubelet-client.key",
		"--kubelet-preferred-address-types=InternalIP",
		"--profiling=false",
		"--proxy-client-cert-file=" + pki + "/front-proxy-client.crt",
		"--proxy-client-key-file=" + pki + "/front-proxy-client.key",
		"--requestheader-allowed-names=front-proxy-client",
		"--requestheader-client-ca-file=" + pki + "/front-proxy-ca.crt",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-",
		"--requestheader-group-headers=X-Remote-Group",
		"--requestheader-username-headers=X-Remote-User",
		"--requestheader-uid-headers=X-Remote-Uid",
		"--secure-port=6443",
		"--service-account-issuer=https://kubernetes.default.svc." + clusterDomain,
		"--service-account-key-file=" + pki + "/sa.pub",
		"--service-account-signing-key-file=" + pki + "/sa.key",
		"--service-cluster-ip-range=" + n.both(serviceRange4, serviceRange6),
		"--tls-cert-file=" + pki + "/apiserver.crt",
		"--tls-private-key-file=" + pki + "/apiserver.key",
	}}
}

func (n Node) controllerManager() program {
	kubeconfig, pki := filepath.Join(n.config(), "controller-manager.conf"), n.pki()
	return program{"kube-controller-manager", []string{
		"--authentication-kubeconfig=" + kubeconfig,
		"--authorization-kubeconfig=" + kubeconfig,
		"--bind-address=127.0.0.1",
		"--client-ca-file=" + pki + "/ca.crt",
		"--cluster-cidr=" + n.both(podRange4, podRange6),
		"--cluster-name=chaperone",
		"--cluster-signing-cert-file=" + pki + "/ca.crt",
		"--cluster-signing-key-file=" + pki + "/ca.key",
		"--enable-hostpath-provisioner=true",
		"--flex-volume-plugin-dir=/var/lib/kubelet-volume-plugins",
		"--kubeconfig=" + kubeconfig,
		"--leader-elect=false",
		"--requestheader-client-ca-file=" + pki + "/front-proxy-ca.crt",
		"--root-ca-file=" + pki + "/ca.crt",
		"--service-account-private-key-file=" + pki + "/sa.key",
		"--service-cluster-ip-range=" + n.both(serviceRange4, serviceRange6),
		"--use-service-account-credentials=true",
	}}
}

func (n Node) scheduler() program {
	kubeconfig := filepath.Join(n.config(), "scheduler.conf")
	return program{"kube-scheduler", []string{
		"--authentication-kubeconfig=" + kubeconfig,
		"--authorization-kubeconfig=" + kubeconfig,
		"--bind-address=127.0.0.1",
		"--kubeconfig=" + kubeconfig,
		"--leader-elect=false",
	}}
}

func (n Node) kubelet() program {
	return program{"kubelet", []string{
		"--config=" + filepath.Join(n.config(), "kubelet.yaml"),
		"--hostname-override=" + Name,
		"--kubeconfig=" + filepath.Join(n.config(), "kubelet.conf"),
		"--node-ip=" + n.both(address4, address6),
		"--root-dir=/var/lib/kubelet",
	}}
}

func (n Node) proxy() program {
	return program{"kube-proxy", []string{"--config=" + filepath.Join(n.config(), "proxy.yaml")}}
}

// Environment is what the node's programs run with: theirs and the cluster's
// tools first, then the host's, and none of the caller's proxies, which lead
// nowhere from here.
func (n Node) Environment() []string {
	path := []string{debian.NodePath(n.Folder), n.Folder.Bin(""), filepath.Dir(n.Folder.Tool("runc")), "/usr/sbin", "/usr/bin", "/sbin", "/bin"}
	env := []string{"PATH=" + strings.Join(path, ":"), "HOME=/root", "TMPDIR=/tmp"}
	for _, name := range []string{"LANG", "TZ"} {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	return env
}
