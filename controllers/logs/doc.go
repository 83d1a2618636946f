// Package logs serves the bytes of recordings as an aggregated API, logs.chaperone.dev/v1alpha1: the API server
// authenticates and audits every reader, and the reader's own RBAC on sessionrecordings/log decides. Nobody needs
// the bucket's credentials to replay.
package logs
