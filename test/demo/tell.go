package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/chaperone-dev/chaperone/test/environment"
)

const approve = `{"spec":{"decision":{"verdict":"Approve","reason":"price change agreed with finance"}}}`

// tell is the story, chapter by chapter.
func (s *story) tell(ctx context.Context, dir string) error {
	dana, err := s.env.NewUser(ctx, dir, "dana", "dba")
	if err != nil {
		return err
	}
	for _, chapter := range []func(context.Context, *environment.User) error{
		s.protected, s.masked, s.refused, s.approved, s.replayed, s.cluster, s.server,
	} {
		if err := chapter(ctx, dana); err != nil {
			return err
		}
	}
	return nil
}

func (s *story) protected(ctx context.Context, _ *environment.User) error {
	s.chapter("1. A policy, and an agent that knows no password")
	s.sayf("The platform team says what billing agents may do with the billing database, and starts an agent.\n" +
		"Its image and its connection string are what they were.")
	if err := s.admit(ctx); err != nil {
		return err
	}
	if _, err := s.kubectl(ctx, []string{"get", "pods", "-n", "agents", "-o",
		"custom-columns=POD:.metadata.name,INIT:.spec.initContainers[*].name,CONTAINERS:.spec.containers[*].name,PHASE:.status.phase"},
		`chaperone-redirect,chaperone\s+agent\s+Running`); err != nil {
		return err
	}
	s.sayf("The database password is nowhere in the agent: not in its environment, not in a file.")
	result, err := s.env.Kubectl(ctx, "exec", "-n", "agents", "deploy/billing-agent", "-c", "agent", "--", "sh", "-c",
		"env; cat /var/run/secrets/*/*/* 2>/dev/null; cat /proc/self/mountinfo")
	if err != nil {
		return err
	}
	found := strings.Count(result.Output, "correct-horse")
	s.show("agent", "{ env; cat /var/run/secrets/*/*/*; cat /proc/self/mountinfo; } | grep -c correct-horse", fmt.Sprint(found))
	if found != 0 {
		return failure{"the agent can see the password"}
	}
	return nil
}

func (s *story) masked(ctx context.Context, _ *environment.User) error {
	s.chapter("2. It works, and does not see what it must not")
	s.sayf("The sidecar answers the agent's TLS, logs in upstream with a leased password and masks the rows.")
	_, err := s.agent(ctx, []string{"SELECT id, name, email, card_number, plan FROM customers ORDER BY id"},
		`Ada Lovelace`, `9015`, `6 rows`, `!4929 1234 5678 9015`, `!5425233430109903`, `!ada@analytical\.example`)
	if err != nil {
		return err
	}
	s.sayf("A card number that somebody typed into a note is found by its form; hiding it in an expression does not help.")
	if _, err := s.agent(ctx, []string{"SELECT note FROM invoices WHERE note IS NOT NULL LIMIT 1"},
		`paid by card`, `!4012 8888 8888 1881`, `1 row`); err != nil {
		return err
	}
	_, err = s.agent(ctx, []string{"SELECT reverse(card_number) AS reversed FROM customers WHERE id = 2"},
		`reversed`, `1 row`, `!3099010343325245`)
	return err
}

func (s *story) refused(ctx context.Context, _ *environment.User) error {
	s.chapter("3. A refusal is an answer")
	s.sayf("DROP is denied by a rule. The agent reads which, and why; the session lives on: the backend is the same.")
	output, err := s.agent(ctx, []string{"SELECT pg_backend_pid() AS pid", "DROP TABLE customers", "SELECT pg_backend_pid() AS pid, count(*) FROM customers"},
		`schema changes go through migrations`, `no-schema-change`, `agents/billing`, `\|\s+6`)
	if err != nil {
		return err
	}
	if pids := backendPIDs(output); len(pids) != 2 || pids[0] != pids[1] {
		return failure{fmt.Sprintf("the session did not live on: backends %v", pids)}
	}
	return nil
}

// backendPIDs finds the first column of the rows that psql printed.
func backendPIDs(output string) []string {
	var pids []string
	for line := range strings.Lines(output) {
		first, _, _ := strings.Cut(line, "|")
		first = strings.TrimSpace(first)
		if first != "" && strings.Trim(first, "0123456789") == "" {
			pids = append(pids, first)
		}
	}
	return pids
}

func (s *story) approved(ctx context.Context, dana *environment.User) error {
	s.chapter("4. A human decides")
	s.sayf("An UPDATE without WHERE is held. The agent sees whom it waits for; nothing has been sent to the database.")
	statement := "UPDATE customers SET plan = 'standard'"
	type answer struct {
		result environment.Result
		err    error
	}
	answered := make(chan answer, 1)
	go func() {
		result, err := s.psql(ctx, statement)
		answered <- answer{result, err}
	}()
	s.show("agent", psqlLine([]string{statement})+"        # waits", "")

	var name string
	if err := eventually(ctx, 30*time.Second, "the approval request", func() (bool, error) {
		got, err := dana.Kubectl(ctx, "get", "approvalrequests", "-n", "agents", "-o",
			`jsonpath={.items[?(@.status.phase=="Pending")].metadata.name}`)
		name = strings.TrimSpace(got.Stdout)
		return name != "", err
	}); err != nil {
		return err
	}
	listed, err := dana.Kubectl(ctx, "get", "approvalrequests", "-n", "agents")
	s.show("dana", "kubectl get approvalrequests -n agents", listed.Output)
	if err != nil {
		return err
	}
	if err := expect(listed.Output, `Pending.*billing.*unfiltered-writes.*UPDATE customers SET plan`); err != nil {
		return err
	}
	select {
	case early := <-answered:
		return failure{"the UPDATE did not wait:\n" + early.result.Output}
	default:
	}
	patched, err := dana.Kubectl(ctx, "patch", "apr", name, "-n", "agents", "--type=merge", "-p", approve)
	s.show("dana", "kubectl patch apr "+name+" -n agents --type=merge -p '"+approve+"'", patched.Output)
	if err != nil {
		return err
	}
	select {
	case late := <-answered:
		s.show("agent", psqlLine([]string{statement}), late.result.Output)
		if late.err != nil {
			return late.err
		}
		if err := expect(late.result.Output, `UPDATE 6`, name); err != nil {
			return err
		}
	case <-time.After(30 * time.Second):
		return failure{"the approved UPDATE did not run within 30 s"}
	}
	s.sayf("The decision carries the name that the API server knows, not one that the approver wrote.")
	decided, err := dana.Kubectl(ctx, "get", "apr", name, "-n", "agents", "-o",
		"jsonpath={range .spec.decisions[*]}{.verdict} by {.user} {.groups}: {.reason}{end}")
	s.show("dana", "kubectl get apr "+name+" -n agents -o jsonpath='{range .spec.decisions[*]}…'", decided.Output)
	if err != nil {
		return err
	}
	return expect(decided.Output, `Approve by dana \["dba",.*price change agreed with finance`)
}

func (s *story) replayed(ctx context.Context, dana *environment.User) error {
	s.chapter("5. What was run and seen can be said afterwards")
	var name string
	if err := eventually(ctx, 30*time.Second, "the recording", func() (bool, error) {
		got, err := dana.Kubectl(ctx, "get", "sessionrecordings", "-n", "agents", "-o",
			`jsonpath={.items[?(@.status.counts.approved>=1)].metadata.name}`)
		name = strings.TrimSpace(got.Stdout)
		return name != "", err
	}); err != nil {
		return err
	}
	replayed, err := dana.Kubectl(ctx, "chaperone", "replay", name, "-n", "agents", "--no-timing")
	s.show("dana", "kubectl chaperone replay "+name+" -n agents --no-timing", replayed.Output)
	if err != nil {
		return err
	}
	if err := expect(replayed.Output, `SELECT id, name, email, card_number`, `DROP TABLE customers`, `no-schema-change`,
		`UPDATE customers SET plan`, `dana`, `(?i)verified`, `!4012 8888 8888 1881`); err != nil {
		return err
	}
	s.sayf("Everything is a Kubernetes object.")
	_, err = s.kubectl(ctx, []string{"get", "agentpolicies,approvalrequests,sessionrecordings", "-n", "agents"},
		`agentpolicy.*/billing\s+Enforce\s+True\s+1\s+1\s+0`, `approvalrequest.*Used`, `sessionrecording.*billing`)
	return err
}
