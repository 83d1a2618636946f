package record

// The log of connections that no target is for: passed through uninspected, or refused. Each is one command of it.
const (
	EgressTarget   = "egress"
	EgressProtocol = "tcp"
)
