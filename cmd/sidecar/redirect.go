package main

import (
	"context"
	"fmt"
	"os"
	"strconv"

	"github.com/go-logr/logr"

	"github.com/chaperone-dev/chaperone/sidecar/layout"
	"github.com/chaperone-dev/chaperone/sidecar/redirect"
	"github.com/chaperone-dev/chaperone/sidecar/redirect/resolver"
)

// resolvConf is what the kubelet wrote; the redirect container runs before any agent code could change it.
const resolvConf = "/etc/resolv.conf"

// redirectPod notes the nameservers, puts the rules in force and proves them. With dryRun it only prints them.
func redirectPod(ctx context.Context, log logr.Logger, dryRun bool) error {
	uid, err := strconv.ParseUint(os.Getenv(layout.EnvUID), 10, 32)
	if err != nil {
		return fmt.Errorf("%s is the sidecar's uid: %w", layout.EnvUID, err)
	}
	settings, err := noted(dryRun)
	if err != nil {
		return fmt.Errorf("noting the nameservers: %w", err)
	}
	table, err := redirect.New(redirect.Config{UID: uint32(uid), Nameservers: settings.Nameservers})
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
