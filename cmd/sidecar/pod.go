package main

import (
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"github.com/chaperone-dev/chaperone/sidecar/layout"
)

// pod is what the webhook wrote into the sidecar's environment.
type pod struct {
	broker, brokerCA string
	name, namespace  string
	addresses        []netip.Addr
	spoolBytes       int64
	// kube is where agents look for the service account, empty in a pod that has none.
	kube string
}

func readPod() (pod, error) {
	p := pod{
		broker: os.Getenv(layout.EnvBroker), brokerCA: os.Getenv(layout.EnvBrokerCA),
		name: os.Getenv(layout.EnvPodName), namespace: os.Getenv(layout.EnvPodNamespace),
	}
	for name, value := range map[string]string{
		layout.EnvBroker: p.broker, layout.EnvBrokerCA: p.brokerCA, layout.EnvPodName: p.name, layout.EnvPodNamespace: p.namespace,
	} {
		if value == "" {
			return p, fmt.Errorf("%s is not set: the sidecar is started by a pod that the operator's webhook wrote", name)
		}
	}
	uid, err := sidecarUID()
	if err != nil {
		return p, err
	}
	if os.Getuid() != int(uid) {
		return p, fmt.Errorf("running as uid %d, but the pod's rules let only uid %d out (%s)", os.Getuid(), uid, layout.EnvUID)
	}
	if p.addresses, err = podAddresses(); err != nil {
		return p, err
	}
	if p.spoolBytes, err = strconv.ParseInt(os.Getenv(layout.EnvSpoolBytes), 10, 64); err != nil {
		return p, fmt.Errorf("%s: %w", layout.EnvSpoolBytes, err)
	}
	if _, err := os.Stat(layout.KubePath); err == nil {
		p.kube = layout.KubePath
	}
	return p, nil
}

// sidecarUID is the only uid whose traffic is not redirected.
func sidecarUID() (uint32, error) {
	uid, err := strconv.ParseUint(os.Getenv(layout.EnvUID), 10, 32)
	if err != nil {
		return 0, fmt.Errorf("%s is the sidecar's uid: %w", layout.EnvUID, err)
	}
	return uint32(uid), nil
}

func podAddresses() ([]netip.Addr, error) {
	var out []netip.Addr
	for text := range strings.SplitSeq(os.Getenv(layout.EnvPodIPs), ",") {
		address, err := netip.ParseAddr(strings.TrimSpace(text))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", layout.EnvPodIPs, err)
		}
		out = append(out, address.Unmap())
	}
	return out, nil
}
