// Package kubeserver runs a throw-away Kubernetes API server for tests of the Kubernetes protocol, from the binaries
// that KUBEBUILDER_ASSETS names (`make assets`), and a sidecar's protocol in front of it: what a session needs beside
// it (people, recording, the way upstream) the test's own process gives.
package kubeserver
