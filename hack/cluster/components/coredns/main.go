// Command coredns is CoreDNS with the plugins the cluster's Corefile names, and
// no others: the cloud providers' alone would triple its size.
package main

import (
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/coremain"
	_ "github.com/coredns/coredns/plugin/cache"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/health"
	_ "github.com/coredns/coredns/plugin/hosts"
	_ "github.com/coredns/coredns/plugin/kubernetes"
	_ "github.com/coredns/coredns/plugin/loadbalance"
	_ "github.com/coredns/coredns/plugin/log"
	_ "github.com/coredns/coredns/plugin/ready"
	_ "github.com/coredns/coredns/plugin/reload"
	_ "github.com/coredns/coredns/plugin/template"
)

func main() {
	// CoreDNS chains plugins in this order, whatever the Corefile's. Template
	// comes last, not before hosts as in a release: it answers for the names
	// that nobody else knew.
	dnsserver.Directives = []string{
		"reload", "ready", "health", "errors", "log", "loadbalance",
		"cache", "hosts", "kubernetes", "template",
	}
	coremain.Run()
}
