// Package controllers holds the operator's reconcilers, one file each. A Reconcile reads, asks one function without
// side effects which status is wanted, and applies it once.
package controllers
