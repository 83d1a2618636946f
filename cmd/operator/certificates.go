package main

import (
	"context"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
	"github.com/chaperone-dev/chaperone/controllers/certs"
)

// certificates are the serving certificates and who keeps them fresh.
type certificates interface {
	certs.Source
	manager.Runnable
}

// loadCertificates makes or reads them; rootsChanged delivers when the bundle has changed since.
func loadCertificates(ctx context.Context, f *flags, live client.Client, log logr.Logger) (certificates, <-chan event.GenericEvent, error) {
	rootsChanged := make(chan event.GenericEvent, 1)
	tell := func() {
		select {
		case rootsChanged <- event.GenericEvent{Object: &v1alpha1.AgentPolicy{}}: // which object does not matter
		default:
		}
	}
	if f.certificateDir != "" {
		files := &certs.Files{Directory: f.certificateDir, Log: log, Changed: tell}
		return files, rootsChanged, files.Load()
	}
	authority := &certs.Authority{
		Client: live, Secret: types.NamespacedName{Namespace: f.namespace, Name: f.rootSecret},
		Names: certs.ServiceNames(f.namespace, f.webhookService, f.brokerService, f.logsService),
		Clock: clock.RealClock{}, Log: log, Changed: tell,
	}
	return authority, rootsChanged, authority.Load(ctx)
}
