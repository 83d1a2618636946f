// Package websocket reads and writes the frames of the WebSocket protocol (RFC 6455), without extensions, as they come:
// no payload is held whole. Lengths are the peer's word and cost nothing but their bytes.
package websocket
