package main

import (
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"

	"github.com/chaperone-dev/chaperone/controllers"
	"github.com/chaperone-dev/chaperone/controllers/notification"
)

// reconcilers registers what only the leader runs.
func (p *parts) reconcilers() error {
	recorder := p.mgr.GetEventRecorder("chaperone")
	now := clock.RealClock{}
	p.scope = &controllers.WebhookScopeReconciler{
		Client: p.mgr.GetClient(), Configurations: p.flags.webhookConfigurations, APIService: p.flags.apiService,
		OperatorNamespace: p.flags.namespace, Roots: p.serving.Roots,
	}
	return controllers.Setup(p.mgr, controllers.Options{
		Policies: &controllers.AgentPolicyReconciler{
			Client: p.mgr.GetClient(), Live: p.live, Sets: p.sets, Sidecars: p.board.Sidecars, Webhooks: p.scope.Selects,
			OperatorNamespace: p.flags.namespace, Events: recorder, Clock: now, Started: time.Now(),
		},
		Sidecars: p.registry,
		Scope:    p.scope,
		Roots:    p.rootsChanged,
		Requests: &controllers.ApprovalRequestReconciler{
			Client: p.mgr.GetClient(), Key: p.keys.DecisionMAC, Retention: p.flags.requestRetention, Waited: p.broker.Waited, Events: recorder, Clock: now,
		},
		Recordings: &controllers.SessionRecordingReconciler{
			Client: p.mgr.GetClient(), Archive: p.archive, Floor: p.flags.retentionFloor, Events: recorder, Clock: now,
		},
		Retention: &controllers.Retention{
			Client: p.mgr.GetClient(), Archive: p.archive, Floor: p.flags.retentionFloor, Clock: now, Log: p.log.WithName("retention"),
		},
		Pods:          &controllers.PodReconciler{Client: p.mgr.GetClient(), Events: recorder},
		Notifications: p.notifications(recorder),
	})
}

// notifications is nil where no sink is configured.
func (p *parts) notifications(recorder events.EventRecorder) *controllers.NotificationReconciler {
	if p.flags.notificationsURL == "" {
		return nil
	}
	now := clock.RealClock{}
	return &controllers.NotificationReconciler{
		Client: p.mgr.GetClient(), Source: p.flags.notificationsSource, Events: recorder, Clock: now,
		Sink: &notification.Sink{
			URL: p.flags.notificationsURL, Client: notification.NewClient(), Clock: now,
			Keys: controllers.NotificationKeys(p.live, types.NamespacedName{Namespace: p.flags.namespace, Name: p.flags.notificationsSecret}),
		},
	}
}
