// Package request reads an agent's HTTP request as the API server will read it: the path in its one canonical
// spelling, the parameters, and what RBAC would ask about (k8s.io/apiserver, RequestInfo). What the two could read
// differently is an error. It is pure.
package request
