package kube_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
	_ "github.com/chaperone-dev/chaperone/sidecar/policy/cel" // what conditions are compiled with
)

func denying(name, when string) policy.Rule {
	return policy.Rule{Name: name, Action: policy.Deny, When: when, Message: "by its condition"}
}

func TestAConditionDecidesOverRequests(t *testing.T) {
	configMap(t, "kept-one")
	configMap(t, "free-one")
	s := front(t, allowing(
		denying("kept", `command.verb in ["delete", "patch"] && command.resource == "configmaps" && command.object.startsWith("kept-")`),
		denying("elsewhere", `!command.readOnly && command.namespace != "shop" && command.namespace != ""`),
	))
	for _, args := range [][]string{
		{"delete", "configmap", "kept-one"}, {"patch", "configmap", "kept-one", "-p", `{"data":{"colour":"red"}}`},
		{"create", "configmap", "new", "-n", "default"},
	} {
		if got := kubectl(t, s, args...); got.code != 1 || !strings.Contains(got.stderr, "by its condition; refused by Chaperone (policy agents/ops (generation 3), rule ") {
			t.Errorf("%v: %+v", args, got)
		}
	}
	for _, args := range [][]string{
		{"get", "configmap", "kept-one"}, {"patch", "configmap", "free-one", "-p", `{"data":{"colour":"red"}}`}, {"delete", "configmap", "free-one"},
		{"get", "configmaps", "-n", "default"},
	} {
		if got := kubectl(t, s, args...); got.code != 0 {
			t.Errorf("%v: %+v", args, got)
		}
	}
	if !exists(t, "kept-one") || exists(t, "free-one") {
		t.Error("the API server says otherwise")
	}
}

func TestAConditionDecidesOverSessions(t *testing.T) {
	overBoth(t, func(t *testing.T, environment []string, mark string) {
		s := front(t, sessions(
			denying("no-removal", `command.resource == "pods" && command.subresource == "exec" && command.program == "rm"`),
			denying("not-the-side", `command.container == "side"`),
			denying("no-terminals", `command.tty || command.interactive`),
		))
		for _, args := range [][]string{
			{"exec", "solo", "--", "rm", mark}, {"exec", "solo", "--", "sh", "-c", "true && rm " + mark}, {"exec", "web", "-c", "side", "--", "echo", mark},
			{"exec", "-i", "solo", "--", "sh"}, {"attach", "-i", "solo"},
		} {
			before := len(kubelet.Runs())
			if got := through(t, s, environment, "", args...); got.code != 1 || !strings.Contains(got.stderr, "by its condition; refused by Chaperone") || len(kubelet.Runs()) != before {
				t.Errorf("%v: %+v", args, got)
			}
		}
		for _, args := range [][]string{{"exec", "solo", "--", "echo", mark}, {"exec", "web", "-c", "app", "--", "sh", "-c", "echo " + mark}} {
			if got := through(t, s, environment, "", args...); got.code != 0 || strings.TrimSpace(got.stdout) != mark {
				t.Errorf("%v: %+v", args, got)
			}
		}
	})
}

func TestAConditionDecidesOverPorts(t *testing.T) {
	open, closed := inPod(t), inPod(t)
	overBoth(t, func(t *testing.T, environment []string, _ string) {
		s := front(t, sessions(denying("no-such-port", "command.ports.exists(p, p == "+closed+")")))
		at, complaints := forward(t, s, environment, open, closed)
		for i, reached := range []bool{true, false} {
			answer, err := http.Get("http://" + at[i] + "/x")
			if err == nil {
				answer.Body.Close()
			}
			if reached != (err == nil) {
				t.Errorf("port %d: %v", i, err)
			}
		}
		eventually(t, func() bool { return strings.Contains(complaints(), "by its condition; refused by Chaperone") })
	})
}
