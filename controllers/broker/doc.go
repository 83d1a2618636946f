// Package broker serves the control stream to the sidecars: policies and leased credentials out, approval requests
// and recordings in.
//
// A sidecar runs in the agent's pod, so everything it sends is taken as hostile: its identity comes from its token
// alone, every message is bounded, every wait has an end, and no pod can use up what others need.
package broker
