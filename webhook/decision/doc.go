// Package decision admits what people decide about ApprovalRequests. The mutating webhook stamps who decided, as
// stringData is folded into data; the validating webhook is the authority, whatever other webhooks did in between.
package decision
