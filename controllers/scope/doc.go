// Package scope keeps the admission webhooks where they belong: failing closed in the namespaces that hold a
// policy and only there, and trusted by the operator's root.
package scope
