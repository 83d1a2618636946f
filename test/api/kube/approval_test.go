package kube_test

import (
	"context"
	"io"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/record"
	"github.com/chaperone-dev/chaperone/sidecar/session"
	"github.com/chaperone-dev/chaperone/test/kubeserver"
)

// asking sends all deletes and creates of ConfigMaps and Secrets for approval.
func asking(wait int64) policy.Kubernetes {
	return allowing(policy.Rule{
		Name: "changes", Action: policy.RequireApproval,
		Match:    policy.Match{Verbs: []string{"delete", "create", "patch", "update"}, Resources: []string{"configmaps", "secrets"}},
		Approval: &policy.Approval{Required: 1, TimeoutSeconds: 300, WaitSeconds: wait},
	})
}

func next(t testing.TB, s *kubeserver.Sidecar, n int) session.Ask {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	ask, err := s.Desk.Filed(ctx, n)
	if err != nil {
		t.Fatal(err)
	}
	return ask
}

func TestARequestWaitsForItsApproval(t *testing.T) {
	configMap(t, "awaited")
	s := front(t, asking(300))
	done := make(chan result, 1)
	go func() { done <- kubectl(t, s, "delete", "configmap", "awaited", "--wait=false") }()
	ask := next(t, s, 1)
	if !strings.Contains(ask.Text, "DELETE /api/v1/namespaces/shop/configmaps/awaited") || len(ask.Digest) != 64 {
		t.Errorf("%+v", ask)
	}
	if !exists(t, "awaited") {
		t.Fatal("it was deleted before it was approved")
	}
	s.Desk.Decide(1, "Approved", "")
	got := <-done
	if got.code != 0 || exists(t, "awaited") || !strings.Contains(got.stderr, "Warning: approved by alice (request apr-1)") {
		t.Errorf("%+v", got)
	}
	states := []string{}
	for _, e := range s.Log.Find(record.KindApproval, nil) {
		states = append(states, e.Decision)
	}
	if strings.Join(states, " ") != "Pending Approved" {
		t.Errorf("recorded: %v", states)
	}
}

func TestADenialNamesTheApproversReason(t *testing.T) {
	configMap(t, "spared")
	s := front(t, asking(300))
	done := make(chan result, 1)
	go func() { done <- kubectl(t, s, "delete", "configmap", "spared") }()
	next(t, s, 1)
	s.Desk.Decide(1, "Denied", "not on a Friday")
	if got := <-done; got.code != 1 || !strings.Contains(got.stderr, "not on a Friday") || !exists(t, "spared") {
		t.Errorf("%+v", got)
	}
}

func TestWithoutAWaitTheAnswerComesAtOnceAndTheSameRequestSucceedsOnceApproved(t *testing.T) {
	configMap(t, "later")
	s := front(t, asking(0))
	if got := kubectl(t, s, "delete", "configmap", "later"); got.code != 1 || !strings.Contains(got.stderr, "approval request apr-1: waiting for approval") {
		t.Fatalf("%+v", got)
	}
	s.Desk.Decide(1, "Approved", "")
	if got := kubectl(t, s, "delete", "configmap", "later"); got.code != 0 || exists(t, "later") {
		t.Errorf("%+v", got)
	}
}

func TestAnApprovalIsForTheBodyThatWasAsked(t *testing.T) {
	s := front(t, asking(0))
	manifest := func(colour string) string {
		return "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: painted, namespace: shop}\ndata: {colour: " + colour + "}\n"
	}
	t.Cleanup(func() {
		_ = server.Client.CoreV1().ConfigMaps(namespace).Delete(context.Background(), "painted", metav1.DeleteOptions{})
	})
	kubectlWith(t, s, manifest("red"), "create", "-f", "-")
	if ask := next(t, s, 1); !strings.Contains(ask.Text, "red") {
		t.Errorf("the approver is not shown the body: %s", ask.Text)
	}
	s.Desk.Decide(1, "Approved", "")
	if got := kubectlWith(t, s, manifest("black"), "create", "-f", "-"); got.code == 0 || s.Desk.Count() != 2 {
		t.Errorf("another body used the grant: %+v", got)
	}
	if got := kubectlWith(t, s, manifest("red"), "create", "-f", "-"); got.code != 0 {
		t.Errorf("%+v", got)
	}
	made, err := server.Client.CoreV1().ConfigMaps(namespace).Get(t.Context(), "painted", metav1.GetOptions{})
	if err != nil || made.Data["colour"] != "red" {
		t.Errorf("%v %+v", err, made)
	}
	if got := kubectlWith(t, s, manifest("red"), "create", "-f", "-"); got.code == 0 || s.Desk.Count() != 3 {
		t.Errorf("a grant was used twice: %+v", got)
	}
}

func TestAnApproverSeesNoValueOfASecret(t *testing.T) {
	s := front(t, asking(0))
	kubectl(t, s, "create", "secret", "generic", "new", "--from-literal=password="+value)
	ask := next(t, s, 1)
	if leaks(ask.Text) || !strings.Contains(ask.Text, "not shown because it may hold a Secret's values") {
		t.Errorf("protobuf: %s", ask.Text)
	}
	manifest := "apiVersion: v1\nkind: Secret\nmetadata: {name: new, namespace: shop}\nstringData: {password: " + value + "}\n"
	kubectlWith(t, s, manifest, "create", "-f", "-", "--validate=false")
	if ask := next(t, s, 2); leaks(ask.Text) || !strings.Contains(ask.Text, `"password"`) {
		t.Errorf("JSON: %s", ask.Text)
	}
}

func TestAnAgentThatHangsUpWithdrawsItsRequest(t *testing.T) {
	configMap(t, "abandoned")
	s := front(t, asking(300))
	conn := dial(t, s)
	if _, err := io.WriteString(conn, "DELETE /api/v1/namespaces/shop/configmaps/abandoned HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	next(t, s, 1)
	conn.Close()
	s.Log.Find(record.KindApproval, func(e record.Event) bool { return e.Decision == "Pending" && e.Message != "" })
	s.Desk.Decide(1, "Approved", "")
	if !exists(t, "abandoned") {
		t.Error("it was deleted though nobody waited")
	}
}
