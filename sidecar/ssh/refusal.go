package ssh

import (
	"errors"
	"fmt"
	"strings"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/session"
)

// Exit statuses of our own answers. 126 is a shell's for a command that was found and may not be run, 255 is ssh's for
// what went wrong with the connection (ssh(1), EXIT STATUS).
const (
	statusDenied = 126
	statusFailed = 255
)

// refusal is what an agent reads in place of what it asked for.
type refusal struct {
	message, detail, hint string
	status                uint32
	cause                 error
}

func (r *refusal) Error() string { return r.message }
func (r *refusal) Unwrap() error { return r.cause }

// text is the refusal in lines, as it is written to standard error.
func (r *refusal) text() string {
	var b strings.Builder
	b.WriteString("chaperone: " + r.message + "\n")
	for _, line := range []string{r.detail, r.hint} {
		if line != "" {
			b.WriteString("chaperone: " + line + "\n")
		}
	}
	return printable(b.String())
}

// printable keeps what a command's text brings from acting on the agent's terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || r >= ' ' && r != 0x7F && (r < 0x80 || r >= 0xA0) {
			return r
		}
		return '?'
	}, s)
}

// failure is a refusal because of something that went wrong.
func failure(err error, message, hint string) *refusal {
	return &refusal{message: message, hint: hint, status: statusFailed, cause: err}
}

// deniedPrefix begins what is said of what a policy denies.
const deniedPrefix = "denied: "

// denial is the answer to what the policy denies.
func denial(v policy.Verdict) *refusal {
	r := &refusal{message: deniedPrefix + v.Message, detail: ruling(v), status: statusDenied}
	if v.Message == "" {
		r.message = "denied"
	}
	switch v.Rule {
	case policy.RuleUnrecognised:
		r.hint = "It did not run, because what it does cannot be known. Write it in a form that is understood, or ask the policy's owner."
	default:
		r.hint = "It did not run and the connection goes on. To be allowed it, ask the policy's owner to change the rule."
	}
	return r
}

// ruling names policy and rule.
func ruling(v policy.Verdict) string {
	switch {
	case v.Policy == "":
		return fmt.Sprintf("rule %q", v.Rule)
	case v.Generation == 0:
		return fmt.Sprintf("policy %s, rule %q", v.Policy, v.Rule)
	}
	return fmt.Sprintf("policy %s (generation %d), rule %q", v.Policy, v.Generation, v.Rule)
}

// undecided is the answer where people did not approve.
func undecided(v policy.Verdict, err error) *refusal {
	r := &refusal{message: err.Error(), detail: ruling(v), status: statusDenied, cause: err}
	switch {
	case errors.Is(err, errCancelled):
		r.message = "cancelled while it waited for approval"
		r.hint = "The approval request stays: the same command runs at once when it has been approved."
	case errors.Is(err, session.ErrDenied):
		r.hint = "It did not run. The reason given is the approver's."
	case errors.Is(err, session.ErrExpired):
		r.hint = "It did not run. Run it again to ask again."
	case errors.Is(err, session.ErrPending):
		r.hint = "Run exactly the same again once it is approved."
	default:
		r.hint = "It did not run. What needs no approval still works."
	}
	return r
}

// errCancelled is a command that its agent gave up while it waited for people.
var errCancelled = errors.New("cancelled")

// unrecorded is the answer where a record could not be made safe and the policy blocks.
func unrecorded(err error) *refusal {
	return &refusal{
		message: "it cannot be recorded: " + err.Error(), detail: "The policy says recording.onFailure: Block.",
		hint: "It did not run. It will be accepted again when the recording is.", status: statusDenied, cause: err,
	}
}

// waitingText tells the agent, and whoever reads its output, what its command waits for.
func waitingText(v policy.Verdict, request string) string {
	namespace, _, _ := strings.Cut(v.Policy, "/")
	return printable(fmt.Sprintf("chaperone: waiting for approval: request %s\nchaperone: %s\nchaperone: An approver runs: kubectl patch apr %s -n %s --type=merge -p '{\"spec\":{\"decision\":{\"verdict\":\"Approve\",\"reason\":\"...\"}}}'\n",
		request, ruling(v), request, namespace))
}

// line is the refusal in one line, for protocols that have room for no more.
func (r *refusal) line() string {
	var parts []string
	for _, s := range []string{r.message, r.detail, r.hint} {
		if s = strings.TrimSuffix(s, "."); s != "" {
			parts = append(parts, s)
		}
	}
	return printable("chaperone: " + strings.Join(parts, "; "))
}
