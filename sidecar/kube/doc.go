// Package kube serves agents that speak to a Kubernetes API server: it ends their TLS and HTTP/1.1 on the pod's side,
// judges each request, and makes it anew to the API server with a credential that the agent never holds.
//
// The agent gets HTTP/1.1 alone, because exec and port-forward may come over SPDY, which HTTP/2 has no upgrade to;
// upstream requests share HTTP/2 connections, and what is upgraded has one of its own.
package kube
