// Package inject puts the sidecar into pods that an AgentPolicy selects, and takes from their other containers what
// would lead around it.
package inject
