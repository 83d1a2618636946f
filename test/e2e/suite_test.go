// Package e2e uses Chaperone as its users do: on a real cluster, with kubectl, psql and real pods.
package e2e

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/chaperone-dev/chaperone/test/environment"
)

var (
	env *environment.Environment
	// database is one PostgreSQL server for all specs; specs that write use tables of their own.
	database = &environment.Database{Namespace: "e2e-database", Name: "db", SQL: `
CREATE ROLE app LOGIN PASSWORD 'only-the-sidecar-knows';
CREATE DATABASE app OWNER app;
\connect app
SET ROLE app;
CREATE TABLE public.customers (id integer PRIMARY KEY, name text, card_number text);
INSERT INTO public.customers VALUES (1, 'Ada', '4929123456789015'), (2, 'Grace', '5425233430109903');
CREATE TABLE public.notes (id serial, body text);
CREATE VIEW public.cards AS SELECT id, card_number AS c FROM public.customers;
`}
)

func TestEndToEnd(t *testing.T) {
	RegisterFailHandler(Fail)
	SetDefaultEventuallyTimeout(60 * time.Second)
	SetDefaultEventuallyPollingInterval(300 * time.Millisecond)
	RunSpecs(t, "Chaperone on a real cluster")
}

var _ = BeforeSuite(func(ctx context.Context) {
	var err error
	env, err = environment.Open()
	Expect(err).NotTo(HaveOccurred())
	By("waiting for the operator")
	Expect(env.RolledOut(ctx, "chaperone-system", "deployment/chaperone", 2*time.Minute)).To(Succeed())
	By("starting PostgreSQL as a pod")
	_, err = env.Apply(ctx, "apiVersion: v1\nkind: Namespace\nmetadata: {name: e2e-database}\n")
	Expect(err).NotTo(HaveOccurred())
	Expect(database.Deploy(ctx, env)).To(Succeed())
})

var _ = AfterSuite(func(ctx context.Context) {
	if env != nil && os.Getenv("KEEP") != "1" {
		_, _ = env.Kubectl(ctx, "delete", "namespace", "e2e-database", "--wait=false")
	}
})

// newNamespace makes a namespace for one spec, with the database's credentials in it, and removes it afterwards.
func newNamespace(ctx context.Context, labels ...string) string {
	GinkgoHelper()
	name := fmt.Sprintf("e2e-%d", time.Now().UnixNano()%1e12)
	_, err := env.Apply(ctx, "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: "+name+"\n  labels: {"+strings.Join(labels, ", ")+"}\n")
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func(ctx context.Context) {
		if CurrentSpecReport().Failed() {
			describe(ctx, name)
		}
		_, _ = env.Kubectl(ctx, "delete", "namespace", name, "--wait=false")
	})
	Expect(env.Credentials(ctx, name, "db", "app", "only-the-sidecar-knows", database.CA)).To(Succeed())
	return name
}

// describe puts what a person would look at into the report of a failed spec.
func describe(ctx context.Context, namespace string) {
	for _, args := range [][]string{
		{"get", "pods,agentpolicies,approvalrequests,sessionrecordings", "-n", namespace, "-o", "wide"},
		{"get", "events", "-n", namespace, "--sort-by=.lastTimestamp"},
		{"describe", "agentpolicies", "-n", namespace},
		{"logs", "-n", namespace, "-l", "chaperone.dev/injected", "-c", "chaperone", "--tail=60"},
		{"logs", "-n", "chaperone-system", "deployment/chaperone", "--tail=60"},
	} {
		result, _ := env.Kubectl(ctx, args...)
		AddReportEntry("kubectl "+strings.Join(args, " "), result.Output)
	}
}

// apply applies manifests as the administrator.
func apply(ctx context.Context, manifests string) {
	GinkgoHelper()
	_, err := env.Apply(ctx, manifests)
	Expect(err).NotTo(HaveOccurred())
}

// kubectl runs kubectl as the administrator and returns what it printed.
func kubectl(ctx context.Context, args ...string) string {
	GinkgoHelper()
	result, err := env.Kubectl(ctx, args...)
	Expect(err).NotTo(HaveOccurred())
	return result.Output
}
