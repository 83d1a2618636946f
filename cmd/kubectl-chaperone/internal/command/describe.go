package command

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
	"github.com/chaperone-dev/chaperone/cmd/kubectl-chaperone/internal/cluster"
	"github.com/chaperone-dev/chaperone/sidecar/record"
)

// sheet is a list of named facts. What is in them is escaped.
type sheet struct {
	b     strings.Builder
	paint painter
}

// labelWidth holds the longest label and a space.
const labelWidth = 15

func (s *sheet) add(label, text string) { s.styled(label, plain, text) }

// styled adds a fact; what follows a line end in it goes below, with nothing before it.
func (s *sheet) styled(label string, of style, text string) {
	for _, line := range strings.Split(strings.TrimRight(text, "\n"), "\n") {
		fmt.Fprintf(&s.b, "%s%s%s\n", s.paint.paint(bold, label), strings.Repeat(" ", max(1, labelWidth-len(label))),
			s.paint.paint(of, record.Printable(strings.ReplaceAll(line, "\t", "    "))))
		label = ""
	}
}

// describe prints what will run, where, for whom, what demands the approval, and where it stands.
func (e *environment) describe(r *v1alpha1.ApprovalRequest, now time.Time) error {
	s := &sheet{paint: e.paint}
	s.add("Request", r.Namespace+"/"+r.Name)
	phase := string(v1alpha1.PhasePending)
	if !pending(r) {
		phase = string(r.Status.Phase)
	}
	s.styled("Phase", phaseStyles[phase], phase+standing(r, now))
	s.add("Pod", fmt.Sprintf("%s (uid %s)", r.Spec.Pod.Name, r.Spec.Pod.UID))
	if r.Spec.Pod.Owner != "" {
		s.add("Workload", r.Spec.Pod.Owner)
	}
	s.add("Account", r.Spec.Pod.ServiceAccount)
	for i, image := range r.Spec.Pod.Images {
		label := ""
		if i == 0 {
			label = "Images"
		}
		s.add(label, image)
	}
	s.add("Target", r.Spec.Target+" ("+r.Spec.Protocol+")")
	s.add("Policy", fmt.Sprintf("%s, generation %d", r.Spec.Policy.Name, r.Spec.Policy.Generation))
	s.add("Rule", r.Spec.Rule)
	s.add("Needs", needs(r.Spec.Approval))
	if r.Spec.Justification != "" {
		s.add("Agent says", strconv.QuoteToGraphic(r.Spec.Justification)+"\nThese are the agent's own words; nobody has checked them.")
	}
	s.styled("Command", bold, r.Spec.Command.Text)
	length := fmt.Sprintf("%d bytes", r.Spec.Command.Length)
	if shown := int64(len(r.Spec.Command.Text)); r.Spec.Command.Length > shown {
		length += fmt.Sprintf(", of which about %d are shown: what runs is longer than what you see", shown)
	}
	s.add("Length", length)
	s.add("SHA256", r.Spec.Command.SHA256)
	decisions(s, r, now)
	_, err := io.WriteString(e.Out, s.b.String())
	return err
}

// standing says when a request ends, or a grant.
func standing(r *v1alpha1.ApprovalRequest, now time.Time) string {
	if pending(r) {
		when := r.Spec.ExpiresAt.UTC().Format("2006-01-02 15:04:05 MST")
		if !now.Before(r.Spec.ExpiresAt.Time) {
			return ", past its expiry at " + when
		}
		return fmt.Sprintf(", %d of %d approvals, expires in %s (%s)", r.Status.Approvals, max(r.Spec.Approval.Required, 1), age(r.Spec.ExpiresAt.Time, now), when)
	}
	if r.Status.Message != "" {
		return ": " + r.Status.Message
	}
	return ""
}

// needs says who has to approve, and what an approval is good for.
func needs(a v1alpha1.RequestedApproval) string {
	who := "1 person"
	if a.Required > 1 {
		who = fmt.Sprintf("%d different people", a.Required)
	}
	if len(a.Groups) > 0 {
		who += " of " + listing(a.Groups, "or")
	}
	if len(a.ExcludeApprovers) > 0 {
		who += ", not " + listing(a.ExcludeApprovers, "or")
	}
	if a.Scope == "Workload" {
		return who + "; the grant is for any pod of the workload with the same images"
	}
	return who + "; the grant is for this pod"
}

func decisions(s *sheet, r *v1alpha1.ApprovalRequest, now time.Time) {
	if len(r.Spec.Decisions) == 0 {
		s.add("Decisions", "none yet")
	}
	for i, d := range r.Spec.Decisions {
		label := ""
		if i == 0 {
			label = "Decisions"
		}
		words, of := "approved by ", green
		if d.Verdict == v1alpha1.VerdictDeny {
			words, of = "denied by ", red
		}
		words += d.User + " " + age(now, d.Time.Time) + " ago"
		if d.Duration != nil {
			words += ", for " + duration.HumanDuration(d.Duration.Duration)
		}
		if d.Reason != "" {
			words += ": " + d.Reason
		}
		s.styled(label, of, strings.ReplaceAll(words, "\n", `\n`))
	}
	if pending(r) && now.Before(r.Spec.ExpiresAt.Time) {
		patch, err := cluster.DecisionPatch(v1alpha1.Decision{Verdict: v1alpha1.VerdictApprove, Reason: "REASON"})
		if err != nil {
			return
		}
		s.add("To decide", fmt.Sprintf("kubectl chaperone approve %[1]s -n %[2]s --reason REASON\nkubectl chaperone deny %[1]s -n %[2]s --reason REASON\n"+
			"kubectl patch approvalrequest %[1]s -n %[2]s --type=merge -p '%[3]s'", r.Name, r.Namespace, patch))
	}
}
