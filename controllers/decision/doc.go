// Package decision says what the decisions on an ApprovalRequest amount to: it signs each entry that admission
// appends and counts only entries whose signature holds. It is pure: no client, no clock.
package decision
