package main

import (
	"time"

	"k8s.io/utils/clock"

	"github.com/chaperone-dev/chaperone/controllers"
)

// reconcilers registers what only the leader runs.
func (p *parts) reconcilers() error {
	events := p.mgr.GetEventRecorder("chaperone")
	now := clock.RealClock{}
	p.scope = &controllers.WebhookScopeReconciler{
		Client: p.mgr.GetClient(), Configurations: p.flags.webhookConfigurations, APIService: p.flags.apiService,
		OperatorNamespace: p.flags.namespace, Roots: p.serving.Roots,
	}
	return controllers.Setup(p.mgr, controllers.Options{
		Policies: &controllers.AgentPolicyReconciler{
			Client: p.mgr.GetClient(), Live: p.live, Sets: p.sets, Sidecars: p.board.Sidecars, Webhooks: p.scope.Selects,
			OperatorNamespace: p.flags.namespace, Events: events, Clock: now, Started: time.Now(),
		},
		Sidecars: p.registry,
		Scope:    p.scope,
		Roots:    p.rootsChanged,
		Requests: &controllers.ApprovalRequestReconciler{
			Client: p.mgr.GetClient(), Key: p.keys.DecisionMAC, Retention: p.flags.requestRetention, Events: events, Clock: now,
		},
		Recordings: &controllers.SessionRecordingReconciler{
			Client: p.mgr.GetClient(), Archive: p.archive, Floor: p.flags.retentionFloor, Events: events, Clock: now,
		},
		Retention: &controllers.Retention{
			Client: p.mgr.GetClient(), Archive: p.archive, Floor: p.flags.retentionFloor, Clock: now, Log: p.log.WithName("retention"),
		},
		Pods: &controllers.PodReconciler{Client: p.mgr.GetClient(), Events: events},
	})
}
