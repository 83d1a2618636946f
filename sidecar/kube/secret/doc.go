// Package secret keeps the values of Secrets out of what an API server answers: objects, lists, tables and watches in
// JSON, as they stream by. It is pure.
package secret
