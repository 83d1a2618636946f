// Package notification tells one sink outside the cluster about approval requests: CloudEvents 1.0 over HTTP in the
// structured mode, signed by the Standard Webhooks specification 1.0, whose headers cover the whole body.
//
// It runs beside approvals and never before them: nothing that decides or releases waits for a sink.
package notification
