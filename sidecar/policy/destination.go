package policy

import (
	"strings"
)

type hostPort struct {
	host string
	port uint16
}

// Destination is one host and port (or several hosts of the same targets) that the sidecar terminates, with the
// rules of every policy that has a target for it. It is immutable and safe for concurrent use.
type Destination struct {
	hosts    []string
	port     uint16
	protocol Protocol
	name     string
	targets  []Ref
	compiled []*compiledTarget
	conflict string
	postgres *PostgresSettings
	kube     *KubernetesSettings
	ssh      *SSHSettings
	record   Recording
}

// Ref is a target of a policy.
type Ref struct {
	// Policy is namespace/name.
	Policy string
	Target *Target
}

// Hosts are the names by which the policies know the destination, lower case, in the order of the policies.
func (d *Destination) Hosts() []string { return d.hosts }

// Port is the destination's TCP port.
func (d *Destination) Port() uint16 { return d.port }

// Protocol is what the destination speaks.
func (d *Destination) Protocol() Protocol { return d.protocol }

// Name is the target's name; where several policies have a target here, their names joined by +.
func (d *Destination) Name() string { return d.name }

// Targets are the policies' targets for this destination, in the order of the policies.
func (d *Destination) Targets() []Ref { return d.targets }

// Conflict is not empty where the policies contradict each other on how to reach the destination (different
// credentials, roots or protocols): every connection is then refused with it.
func (d *Destination) Conflict() string { return d.conflict }

// Conditional reports whether some rule has a `when`, which may look at the command's very text: a verdict then
// holds for no other text, however alike.
func (d *Destination) Conditional() bool {
	for _, t := range d.compiled {
		for i := range t.rules {
			if t.rules[i].when != nil {
				return true
			}
		}
	}
	return false
}

// Recording is the strictest of the policies' recording sections.
func (d *Destination) Recording() Recording { return d.record }

// Postgres is what a PostgreSQL session needs beside the rules; nil for another protocol.
func (d *Destination) Postgres() *PostgresSettings { return d.postgres }

// Kubernetes is what a session to an API server needs beside the rules; nil for another protocol.
func (d *Destination) Kubernetes() *KubernetesSettings { return d.kube }

// SSH is what an SSH session needs beside the rules; nil for another protocol.
func (d *Destination) SSH() *SSHSettings { return d.ssh }

// merge makes the destinations: the union of the policies' targets, one for every host and port, hosts with the
// same targets together.
func (c *Compiled) merge() {
	var order []hostPort
	sharing := make(map[hostPort][]*compiledTarget)
	for _, p := range c.policies {
		for _, t := range p.targets {
			for _, h := range t.hosts {
				key := hostPort{h, t.port}
				if _, known := sharing[key]; !known {
					order = append(order, key)
				}
				sharing[key] = append(sharing[key], t)
			}
		}
	}
	for _, key := range order {
		d := c.sameTargets(sharing[key])
		if d == nil {
			d = newDestination(key.port, sharing[key], c.policyRecording)
			c.destinations = append(c.destinations, d)
		}
		d.hosts = append(d.hosts, key.host)
		c.byAddress[key] = d
	}
}

func (c *Compiled) sameTargets(targets []*compiledTarget) *Destination {
next:
	for _, d := range c.destinations {
		if len(d.compiled) != len(targets) {
			continue
		}
		for i := range targets {
			if d.compiled[i] != targets[i] {
				continue next
			}
		}
		return d
	}
	return nil
}

func (c *Compiled) policyRecording(p *compiledPolicy) Recording {
	for i := range c.policies {
		if c.policies[i] == p {
			return c.set.Policies[i].Recording
		}
	}
	return Recording{}
}

func newDestination(port uint16, targets []*compiledTarget, recording func(*compiledPolicy) Recording) *Destination {
	d := &Destination{port: port, compiled: targets, record: Recording{Durability: Spool, OnFailure: Continue}}
	var names []string
	for _, t := range targets {
		d.targets = append(d.targets, Ref{Policy: t.policy.name, Target: t.target})
		if !contains(names, t.target.Name) {
			names = append(names, t.target.Name)
		}
		r := recording(t.policy)
		if r.Durability == Acknowledged {
			d.record.Durability = Acknowledged
		}
		if r.OnFailure != Continue { // Block is the default
			d.record.OnFailure = Block
		}
		switch {
		case d.protocol == "":
			d.protocol = t.protocol
		case d.protocol != t.protocol && d.conflict == "":
			d.conflict = "policies " + targets[0].policy.name + " and " + t.policy.name + " disagree on the protocol: " +
				string(d.protocol) + " and " + string(t.protocol)
		}
	}
	d.name = strings.Join(names, "+")
	if d.conflict == "" && d.protocol == ProtocolPostgres {
		d.postgres, d.conflict = mergePostgres(targets)
	}
	if d.conflict == "" && d.protocol == ProtocolKubernetes {
		d.kube, d.conflict = mergeKubernetes(targets)
	}
	if d.conflict == "" && d.protocol == ProtocolSSH {
		d.ssh, d.conflict = mergeSSH(targets)
	}
	return d
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}
