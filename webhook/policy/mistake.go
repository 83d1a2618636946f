package policy

import (
	"fmt"
	"path"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
	"github.com/chaperone-dev/chaperone/sidecar/layout"
	sidecar "github.com/chaperone-dev/chaperone/sidecar/policy"
)

// The pod's own API server, as in-cluster clients know it (KUBERNETES_SERVICE_HOST is an address of the same).
const (
	clusterHost = "kubernetes.default.svc"
	clusterPort = 443
)

// mistakes are those that neither the schema nor the sidecar's compiler sees, each with its field.
func mistakes(policy *v1alpha1.AgentPolicy) []string {
	var out []string
	if _, err := metav1.LabelSelectorAsSelector(&policy.Spec.PodSelector); err != nil {
		out = append(out, "spec.podSelector: "+err.Error())
	}
	out = append(out, untrustable(policy)...)
	out = append(out, indistinct(policy)...)
	return append(out, uncompilable(policy)...)
}

// uncompilable finds conditions that CEL does not take, which the compiler would report without their field.
func uncompilable(policy *v1alpha1.AgentPolicy) []string {
	var out []string
	compile := func(protocol sidecar.Protocol, target int, rule int, when string) {
		if when == "" || sidecar.Conditions == nil {
			return
		}
		if _, err := sidecar.Conditions(protocol, when); err != nil {
			out = append(out, fmt.Sprintf("spec.targets[%d].%s.rules[%d].when: %v", target, protocol, rule, err))
		}
	}
	for i := range policy.Spec.Targets {
		t := &policy.Spec.Targets[i]
		if t.Postgres != nil {
			for j := range t.Postgres.Rules {
				compile(sidecar.ProtocolPostgres, i, j, t.Postgres.Rules[j].When)
			}
		}
		if t.SSH != nil {
			for j := range t.SSH.Rules {
				compile(sidecar.ProtocolSSH, i, j, t.SSH.Rules[j].When)
			}
		}
		if t.Kubernetes != nil {
			for j := range t.Kubernetes.Rules {
				compile(sidecar.ProtocolKubernetes, i, j, t.Kubernetes.Rules[j].When)
			}
		}
	}
	return out
}

// indistinct finds two targets for one destination: which of them is meant could only be told by their order.
func indistinct(policy *v1alpha1.AgentPolicy) []string {
	var out []string
	first := map[string]string{}
	for i := range policy.Spec.Targets {
		t := &policy.Spec.Targets[i]
		hosts, port := t.Hosts, v1alpha1.Port(clusterPort)
		if t.Port != nil {
			port = *t.Port
		}
		field := fmt.Sprintf("spec.targets[%d].hosts", i)
		if len(hosts) == 0 && t.Kubernetes != nil {
			hosts, field = []v1alpha1.Host{clusterHost}, fmt.Sprintf("spec.targets[%d].kubernetes", i)
		}
		for _, host := range hosts {
			at := fmt.Sprintf("%s:%d", strings.TrimSuffix(strings.ToLower(string(host)), "."), port)
			if other, ok := first[at]; ok && other != t.Name {
				out = append(out, fmt.Sprintf("%s: targets %s and %s are both for %s; join them, or give one another host or port", field, other, t.Name, at))
				continue
			}
			first[at] = t.Name
		}
	}
	return out
}

// unmountable are files and trees that the container runtime itself provides.
var unmountable = []string{"/proc", "/sys", "/dev", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf", layout.TrustPath, layout.ServiceAccountPath}

func untrustable(policy *v1alpha1.AgentPolicy) []string {
	if policy.Spec.Trust == nil {
		return nil
	}
	var out []string
	for i, file := range policy.Spec.Trust.Paths {
		field := fmt.Sprintf("spec.trust.paths[%d]", i)
		inside := func(tree string) bool { return file == tree || strings.HasPrefix(file, tree+"/") }
		switch {
		case path.Clean(file) != file || !path.IsAbs(file) || file == "/":
			out = append(out, fmt.Sprintf("%s: %q is not the plain absolute path of a file", field, file))
		case slices.ContainsFunc(unmountable, inside):
			out = append(out, fmt.Sprintf("%s: %s is provided by the runtime or by the sidecar and cannot be overlaid", field, file))
		}
	}
	return out
}
