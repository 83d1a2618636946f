package wire

import (
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgproto3/v2"

	"github.com/chaperone-dev/chaperone/sidecar/policy"
	"github.com/chaperone-dev/chaperone/sidecar/session"
)

// SQLSTATEs of our own answers (PostgreSQL, appendix A).
const (
	codeConnectionFailure = "08006"
	codeProtocolViolation = "08P01"
	codeNotSupported      = "0A000"
	codeNoStatement       = "26000"
	codeNoPortal          = "34000"
	codeDenied            = "42501"
	codeNameTooLong       = "42622"
	codeTooMany           = "53400"
	codeLimit             = "54000"
	codeCancelled         = "57014"
	codeSystem            = "58000"
)

// refusal is an error that the agent gets in place of what the server would have answered.
type refusal struct {
	code, message, detail, hint string
	position                    int
	// server says that the server would have failed here too, and its transaction with it.
	server bool
}

// encodeError appends an ErrorResponse.
func encodeError(dst []byte, severity string, r refusal) []byte {
	out, err := (&pgproto3.ErrorResponse{
		Severity: severity, SeverityUnlocalized: severity, Code: r.code, Message: plain(r.message),
		Detail: plain(r.detail), Hint: plain(r.hint), Position: int32(r.position),
	}).Encode(dst)
	if err != nil { // only a message over 1 GiB
		return dst
	}
	return out
}

// encodeNotice appends a NoticeResponse.
func encodeNotice(dst []byte, r refusal) []byte {
	out, err := (&pgproto3.NoticeResponse{
		Severity: "NOTICE", SeverityUnlocalized: "NOTICE", Code: "00000", Message: plain(r.message),
		Detail: plain(r.detail), Hint: plain(r.hint),
	}).Encode(dst)
	if err != nil {
		return dst
	}
	return out
}

// plain keeps a field from ending early.
func plain(s string) string { return strings.ReplaceAll(s, "\x00", "") }

// denial is the answer to a denied command.
func denial(v policy.Verdict) refusal {
	r := refusal{code: codeDenied, message: v.Message, detail: ruling(v)}
	if r.message == "" {
		r.message = "refused"
	}
	switch v.Rule {
	case policy.RuleUnrecognised:
		r.hint = "The statement was not forwarded, because what it does cannot be known. Write it in a form that is understood, or ask the policy's owner."
	case policy.RuleMasking:
		r.hint = "Read the protected column in a plain SELECT, where it can be masked, or leave it out."
	case policy.RuleInference:
		r.hint = "Use columns that the policy does not protect in conditions and orderings."
	case policy.RuleBuiltin:
		r.hint = "The statement did not run and the session goes on. No rule allows this; do without, or ask the policy's owner."
	case policy.RuleRefusals:
		r.hint = "The statement did not run and the session goes on. To be allowed it, ask the policy's owner to change postgres.refusals."
	default:
		r.hint = "The statement did not run and the session goes on. To be allowed it, ask the policy's owner to change the rule."
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
func undecided(v policy.Verdict, err error, inside bool) refusal {
	r := refusal{code: codeDenied, message: err.Error(), detail: ruling(v)}
	switch {
	case errors.Is(err, ErrCancelled):
		return refusal{code: codeCancelled, message: "canceling statement due to user request", detail: ruling(v),
			hint: "The approval request stays: the same statement runs at once when it has been approved."}
	case errors.Is(err, session.ErrDenied):
		r.hint = "The statement did not run. The reason given is the approver's."
	case errors.Is(err, session.ErrExpired):
		r.hint = "The statement did not run. Run it again to ask again."
	case errors.Is(err, session.ErrPending) && inside:
		r.hint = "The rule does not hold a statement that waits inside an open transaction, where it would keep locks. Roll back, and run the same statement with the same values once it is approved."
	case errors.Is(err, session.ErrPending):
		r.hint = "Run the same statement with the same values again once it is approved."
	default:
		r.code = codeSystem
		r.hint = "The statement did not run. Statements that need no approval still work."
	}
	return r
}

// unrecorded is the answer where a record could not be made safe and the policy blocks.
func unrecorded(err error) refusal {
	return refusal{
		code: codeSystem, message: "the statement cannot be recorded: " + err.Error(),
		detail: "The policy says recording.onFailure: Block.",
		hint:   "The statement did not run. It will be accepted again when the recording is.",
	}
}

// ApprovalNotice is the NoticeResponse that names a request for approval.
func ApprovalNotice(v policy.Verdict, request string) []byte {
	return encodeNotice(nil, approvalNotice(v, request))
}

// approvalNotice tells the agent, and whoever reads its output, what its statement waits for.
func approvalNotice(v policy.Verdict, request string) refusal {
	namespace, _, _ := strings.Cut(v.Policy, "/")
	return refusal{
		message: fmt.Sprintf("waiting for approval: request %s", request),
		detail:  ruling(v),
		hint: fmt.Sprintf(`An approver runs: kubectl patch apr %s -n %s --type=merge -p '{"spec":{"decision":{"verdict":"Approve","reason":"..."}}}'`,
			request, namespace),
	}
}
