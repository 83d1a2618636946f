// Command sidecar is the program of the sidecar's image. It redirects the pod's traffic (redirect, an init
// container), proxies it (run, the native sidecar) and says whether it is ready (ready, the startup probe).
package main
