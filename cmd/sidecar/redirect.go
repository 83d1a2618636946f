package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"slices"

	"github.com/go-logr/logr"

	"github.com/chaperone-dev/chaperone/sidecar/layout"
	"github.com/chaperone-dev/chaperone/sidecar/redirect"
	"github.com/chaperone-dev/chaperone/sidecar/redirect/resolver"
)

// resolvConf is what the kubelet wrote; the redirect container runs before any agent code could change it.
const resolvConf = "/etc/resolv.conf"

// redirectPod notes the nameservers, puts the rules in force and proves them. With dryRun it only prints them.
func redirectPod(ctx context.Context, log logr.Logger, dryRun bool) error {
	uid, err := sidecarUID()
	if err != nil {
		return err
	}
	settings, err := noted(dryRun)
	if err != nil {
		return fmt.Errorf("noting the nameservers: %w", err)
	}
	if !dryRun {
		own, err := podAddresses()
		if err != nil {
			return err
		}
		if err := outside(settings.Nameservers, own); err != nil {
			return err
		}
	}
	table, err := redirect.New(redirect.Config{UID: uid, Nameservers: settings.Nameservers})
	if err != nil {
		return err
	}
	if dryRun {
		fmt.Print(table)
		return nil
	}
	if err := redirect.Apply(table); err != nil {
		return err
	}
	families, err := redirect.Prove(ctx)
	if err != nil {
		return fmt.Errorf("the rules are there and do not hold: %w", err)
	}
	log.Info("The pod's traffic goes through the sidecar", "uid", uid, "proved", families)
	return nil
}

// outside refuses a nameserver that runs in the pod: agents would say where names point.
func outside(nameservers, own []netip.Addr) error {
	for _, a := range nameservers {
		if slices.Contains(own, a) {
			return fmt.Errorf("nameserver %s is the pod's own address; set dnsConfig.nameservers to the cluster's DNS", a)
		}
	}
	return nil
}

// noted keeps the resolver's settings for the sidecar; a dry run only reads them.
func noted(dryRun bool) (resolver.Settings, error) {
	if !dryRun {
		return resolver.Note(resolvConf, layout.StatePath)
	}
	f, err := os.Open(resolvConf)
	if err != nil {
		return resolver.Settings{}, err
	}
	defer f.Close()
	return resolver.Parse(f)
}
