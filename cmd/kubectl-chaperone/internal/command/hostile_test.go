package command

import (
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
	"github.com/chaperone-dev/chaperone/sidecar/record"
)

// texts are what an agent may write, or whoever names objects: each has "evil" at its beginning and end.
var texts = map[string]string{
	"terminal escapes":         "evil\x1b[2J\x1b]0;title\x07\x1b]52;c;cm0=\x07\x1bP+q\x1b\\evil",
	"escapes of eight bits":    "evil\u009b31m\u009d0;x\u009cevil",
	"turned text":              "evil\u202egnp.exe\u2066\u2067\u2068\u2069\u200f\u061cevil",
	"joined and hidden":        "evil\u200b\u200d\u2060\ufeff\u00ad\U000e0041evil",
	"line ends":                "evil\rNAME   PHASE\n\v\f\u0085\u2028\u2029evil",
	"bytes that are no UTF-8":  "evil\xff\xc0\x80\xed\xa0\x80evil",
	"NUL, backspace, delete":   "evil\x00\b\b\b\x7fevil",
	"a very long name":         "evil" + strings.Repeat("x", 10_000) + "evil",
	"a long row of what turns": "evil" + strings.Repeat("\u202e", 2_000) + "evil",
}

// actsOn is the first character that a terminal could act on, or that hides or turns text.
func actsOn(out string) string {
	for i, r := range out {
		if r != '\n' && !unicode.IsPrint(r) {
			return fmt.Sprintf("%U at %d: %q", r, i, out[max(0, i-30):min(len(out), i+30)])
		}
	}
	return ""
}

func TestNothingOfAnApprovalARecordingOrAPodActsOnATerminal(t *testing.T) {
	for name, text := range texts {
		t.Run(name, func(t *testing.T) {
			s := newAPIServer(t)
			s.approvals = []v1alpha1.ApprovalRequest{request("a", "", time.Hour, func(r *v1alpha1.ApprovalRequest) {
				r.Spec.Command.Text, r.Spec.Justification, r.Spec.Rule, r.Spec.Target, r.Spec.Protocol = text, text, text, text, text
				r.Spec.Pod = v1alpha1.RequestingPod{Name: text, ServiceAccount: text, Owner: text, Images: []string{text}}
				r.Spec.Policy.Name, r.Spec.Command.SHA256 = text, text
				r.Spec.Approval.Groups, r.Spec.Approval.ExcludeApprovers = []string{text}, []string{text}
				r.Spec.Decisions = []v1alpha1.StampedDecision{{Verdict: v1alpha1.VerdictApprove, User: text, Groups: []string{text}, Reason: text, Time: metav1.Now()}}
				r.Status.Message = text
			})}
			s.policies = []v1alpha1.AgentPolicy{agentPolicy("billing", 2*time.Hour, func(ap *v1alpha1.AgentPolicy) {
				ap.Spec.Targets[0].Name, ap.Spec.Targets[0].Hosts = text, []v1alpha1.Host{v1alpha1.Host(text)}
				ap.Status.Conditions = append(ap.Status.Conditions, metav1.Condition{Type: "Degraded", Status: metav1.ConditionTrue, Reason: text, Message: text})
			})}
			s.pods = []corev1.Pod{agentPod("agent-0", func(p *corev1.Pod) {
				p.Spec.ServiceAccountName, p.Spec.NodeName = text, text
				p.Spec.InitContainers[0].Image = text
				p.Status.InitContainerStatuses[0].State = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: text, Message: text}}
			})}
			s.recorded(t, "rec", time.Hour, func(r *v1alpha1.SessionRecording) {
				r.Spec.Target, r.Spec.Protocol, r.Spec.Pod.Name, r.Spec.Pod.Owner, r.Spec.Policies = text, text, "agent-0", text, []string{text}
				r.Status.Counts.Denied = 1
			}, record.Event{Kind: record.KindConnect, Connection: 1, Client: text, User: text, Database: text, Peer: text},
				record.Event{Time: 1, Kind: record.KindCommand, Connection: 1, Command: 1, Text: text, Rule: text, Policy: text, Message: text, Verdict: "Deny"})
			for _, args := range []string{
				"approvals", "approvals -A", "approvals -o wide", "approvals a", "approvals show a", "approve a", "deny a --reason no",
				"recordings", "recordings -o wide", "recordings -A", "recordings --command evil", "replay rec", "explain agent-0", "explain agent-0 --since 2h", "status",
			} {
				out, note, err := s.run(t, strings.Fields(args)...)
				if out+note == "" && err == nil {
					t.Errorf("%s prints nothing", args)
				}
				if got := actsOn(out + note); got != "" {
					t.Errorf("%s prints %s", args, got)
				}
				if err != nil {
					if got := actsOn(err.Error()); got != "" {
						t.Errorf("the error of %s has %s", args, got)
					}
				}
			}
		})
	}
}
