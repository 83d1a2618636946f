package main

import (
	"github.com/chaperone-dev/chaperone/sidecar/layout"
	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/trust"
)

// trusted is what the pod's agents trust.
type trusted struct {
	pod       pod
	authority *trust.Authority
	leaves    *trust.Leaves
	hostKeys  *trust.HostKeys
}

// publishTrust takes up the pod's keys, or makes them, and writes what agents read. Files that agents mount one by
// one must be there before the first of them starts.
func publishTrust(p pod) (*trusted, error) {
	authority, err := trust.LoadAuthority(layout.StatePath, p.namespace+"/"+p.name)
	if err != nil {
		return nil, err
	}
	leaves, err := trust.NewLeaves(authority)
	if err != nil {
		return nil, err
	}
	hostKeys, err := trust.LoadHostKeys(layout.StatePath)
	if err != nil {
		return nil, err
	}
	t := &trusted{pod: p, authority: authority, leaves: leaves, hostKeys: hostKeys}
	return t, t.write(nil)
}

// write brings the files up to date with the policies: SSH clients know hosts by name.
func (t *trusted) write(rules *policy.Compiled) error {
	var hosts []trust.SSHHost
	if rules != nil {
		for _, d := range rules.Destinations() {
			if d.Protocol() != policy.ProtocolSSH {
				continue
			}
			for _, host := range d.Hosts() {
				hosts = append(hosts, trust.SSHHost{Host: host, Port: d.Port()})
			}
		}
	}
	return trust.Publish(layout.TrustPath, t.pod.kube, t.pod.namespace, t.authority.PEM(), t.hostKeys.KnownHosts(hosts))
}
