package main

import (
	"context"
	_ "embed"
	"fmt"
	"time"

	"github.com/chaperone-dev/chaperone/test/environment"
)

const databaseHost = "billing-db.prod.svc.cluster.local"

var (
	//go:embed manifests/namespaces.yaml
	namespaces string
	//go:embed manifests/approver.yaml
	approver string
	//go:embed manifests/agent.yaml
	agent string
	//go:embed manifests/data.sql
	data string
)

// stage prepares what a company has before Chaperone comes: a database with data, and its password in a Secret.
func (s *story) stage(ctx context.Context) error {
	fmt.Fprintln(s.out, "Starting PostgreSQL as a pod, with data.")
	if _, err := s.env.Apply(ctx, namespaces); err != nil {
		return err
	}
	database := &environment.Database{Namespace: "prod", Name: "billing-db", SQL: data}
	if err := database.Deploy(ctx, s.env); err != nil {
		return err
	}
	if err := s.env.Credentials(ctx, "agents", "billing-db", "billing_app", "correct-horse-battery-staple", database.CA); err != nil {
		return err
	}
	_, err := s.env.Apply(ctx, approver)
	return err
}

// admit applies the policy and the agent, and waits for the agent to run.
func (s *story) admit(ctx context.Context) error {
	if _, err := s.kubectl(ctx, []string{"apply", "-f", "config/samples/billing.yaml"}, `agentpolicy.*billing created`); err != nil {
		return err
	}
	if _, err := s.env.Apply(ctx, agent); err != nil {
		return err
	}
	s.show("admin", "kubectl apply -f test/demo/manifests/agent.yaml", "deployment.apps/billing-agent created")
	return s.env.RolledOut(ctx, "agents", "deployment/billing-agent", 2*time.Minute)
}
