// Package layout names what the webhook writes into a pod and the sidecar reads there: containers, volumes,
// paths, ports, environment, annotations. Both sides import it, so that neither guesses.
package layout

const (
	// RedirectContainer programs the pod's nftables rules and exits; it alone holds NET_ADMIN.
	RedirectContainer = "chaperone-redirect"
	// SidecarContainer is the native sidecar (KEP-753).
	SidecarContainer = "chaperone"

	// SidecarBinary is the program of the sidecar image; its first argument is redirect, run or ready.
	SidecarBinary = "/sidecar"
	// WhenBinary is the other program of that image: it evaluates the conditions of rules, and the sidecar starts
	// it at the first policy that has one.
	WhenBinary = "/when"
	// ScriptBinary is the third: the sidecar starts it for each script that it interprets.
	ScriptBinary = "/script"

	// StateVolume (memory) is mounted read-write in our two containers alone: nameservers noted before any
	// agent code ran, CA and host key, the last policy.
	StateVolume = "chaperone-state"
	StatePath   = "/var/lib/chaperone/state"
	// SpoolVolume (size-limited) holds recordings not yet acknowledged. Sidecar alone.
	SpoolVolume = "chaperone-spool"
	SpoolPath   = "/var/lib/chaperone/spool"
	// TrustVolume (memory) holds public material; agents mount it read-only.
	TrustVolume = "chaperone-trust"
	TrustPath   = "/var/run/chaperone/trust"
	// IdentityVolume projects the broker token. Sidecar alone.
	IdentityVolume = "chaperone-identity"
	IdentityPath   = "/var/run/chaperone/identity"
	// TokenFile, in IdentityPath: the token with TokenAudience, renewed by the kubelet.
	TokenFile = "token"
	// KubeTokenFile and KubeCAFile, in IdentityPath: the pod's own service account token and the API server's
	// root, present where the pod's containers would have had them.
	KubeTokenFile = "kube-token"
	KubeCAFile    = "kube-ca.crt"
	// KubeVolume (memory) stands at the standard service account path of agents: our CA, the namespace and a
	// placeholder token, written by the sidecar.
	KubeVolume = "chaperone-kube"
	KubePath   = "/var/lib/chaperone/kube"
	// ServiceAccountPath is where in-cluster clients look (client-go rest.InClusterConfig).
	ServiceAccountPath = "/var/run/secrets/kubernetes.io/serviceaccount"

	// NameserversFile, in StatePath: one IP address a line, written by the redirect container.
	NameserversFile = "nameservers"
	// SearchFile, in StatePath: the resolver's search domains and ndots as noted with the nameservers.
	SearchFile = "resolv.conf"
	// PolicyFile, in StatePath: the last policy.Set received, JSON.
	PolicyFile = "policy.json"
	// CAFile, in TrustPath: the pod's public CA, PEM. The only file an agent needs to trust us.
	CAFile = "ca.crt"
	// KnownHostsFile, in TrustPath: the pod's SSH host key as known_hosts lines. Single-file mounts of it and of
	// CAFile exist, so both must be there before the startup probe passes and be rewritten in place.
	KnownHostsFile = "known_hosts"
	// SystemKnownHosts is where OpenSSH looks in agents (ssh_config GlobalKnownHostsFile).
	SystemKnownHosts = "/etc/ssh/ssh_known_hosts"

	// ProxyPort is where redirected TCP arrives, on 127.0.0.1 and ::1 only.
	ProxyPort = 15001
	// DNSPort is where redirected DNS arrives (UDP and TCP), on 127.0.0.1 and ::1 only.
	DNSPort = 15053

	// EnvBroker is host:port of the operator's broker service.
	EnvBroker = "CHAPERONE_BROKER"
	// EnvBrokerCA is the operator's root certificate, PEM.
	EnvBrokerCA = "CHAPERONE_BROKER_CA"
	// EnvUID is the sidecar's uid, decimal: the only owner whose traffic is not redirected.
	EnvUID = "CHAPERONE_UID"
	// EnvSpoolBytes is the size limit of SpoolVolume, decimal: beyond it the kubelet evicts the pod, so the
	// sidecar stays below.
	EnvSpoolBytes = "CHAPERONE_SPOOL_BYTES"
	// EnvPodName, EnvPodNamespace, EnvPodUID and EnvPodIPs come from the downward API.
	EnvPodName      = "CHAPERONE_POD_NAME"
	EnvPodNamespace = "CHAPERONE_POD_NAMESPACE"
	EnvPodUID       = "CHAPERONE_POD_UID"
	EnvPodIPs       = "CHAPERONE_POD_IPS"

	// TokenAudience is the audience of the sidecar's projected token; no other token is accepted by the broker.
	TokenAudience = "broker.chaperone.dev"

	// BoundLabelsAnnotation keeps the labels that a pod was admitted with, as JSON: policies are matched against
	// these for the pod's whole life, so that relabelling changes nothing.
	BoundLabelsAnnotation = "chaperone.dev/bound-labels"
	// InjectedAnnotation marks a pod that was injected; its value is the version of the injection.
	InjectedAnnotation = "chaperone.dev/injected"
	// SealAnnotation proves that the operator's webhook wrote our containers, volumes and bound labels.
	SealAnnotation = "chaperone.dev/seal"
	// InjectedLabel is the same mark for selectors (kubectl get pods -l).
	InjectedLabel = "chaperone.dev/injected"
)

// Ours reports whether a container name is one of ours.
func Ours(container string) bool {
	return container == RedirectContainer || container == SidecarContainer
}

// OurVolume reports whether a volume name is one of ours.
func OurVolume(volume string) bool {
	switch volume {
	case StateVolume, SpoolVolume, TrustVolume, IdentityVolume, KubeVolume:
		return true
	}
	return false
}
