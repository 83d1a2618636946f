// Package policy refuses AgentPolicies that no sidecar could put in force, and those that point to what their writer
// may not read.
package policy
