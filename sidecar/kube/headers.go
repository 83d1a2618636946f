package kube

import (
	"errors"
	"net/http"
	"strings"
)

// forwarded are the headers of a request that reach the API server. All others stay here: Authorization
// would be somebody else's rights, X-Remote-* and X-Forwarded-* somebody else's word, and the rest means
// nothing there.
var forwarded = map[string]bool{
	"Accept": true, "Accept-Encoding": true, "Accept-Language": true, "Content-Type": true, "User-Agent": true,
	"If-Match": true, "If-None-Match": true, "If-Modified-Since": true,
	"Kubectl-Command": true, "Kubectl-Session": true, "Traceparent": true, "Tracestate": true,
}

// withheld are those that do not reach a proxied Service either, by prefix, in the canonical form.
var withheld = []string{
	"Authorization", "Proxy-", "Impersonate-", "X-Remote-", "X-Forwarded", "Forwarded", "X-Original-", "X-Real-",
	"Connection", "Keep-Alive", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "Host", "Content-Length", "Expect",
	"Sec-Websocket-", "X-Stream-Protocol-Version", "Http2-Settings",
}

// requestHeader is what of an agent's header goes upstream. Behind a proxy subresource is a program whose headers are
// not known.
func requestHeader(h http.Header, proxied bool) http.Header {
	out := make(http.Header, len(h))
	for name, values := range h {
		if forwarded[name] || proxied && !withhold(name) {
			out[name] = values
		}
	}
	if _, sent := h["User-Agent"]; !sent {
		out["User-Agent"] = nil // net/http would add its own
	}
	return out
}

func withhold(name string) bool {
	for _, p := range withheld {
		if name == p || strings.HasSuffix(p, "-") && strings.HasPrefix(name, p) || p == "X-Forwarded" && strings.HasPrefix(name, p) {
			return true
		}
	}
	// A name in another spelling than net/http's (an underscore, a space) may be read as another one's behind a proxy.
	return strings.ContainsAny(name, "_ ")
}

// hopByHop are the headers of an answer that are about one connection (RFC 9110 7.6.1).
var hopByHop = map[string]bool{
	"Connection": true, "Keep-Alive": true, "Proxy-Connection": true, "Te": true, "Trailer": true,
	"Transfer-Encoding": true, "Upgrade": true, "Alt-Svc": true,
}

// responseHeader copies an answer's header.
func responseHeader(dst, src http.Header) {
	for name, values := range src {
		if !hopByHop[name] {
			dst[name] = values
		}
	}
}

// errImpersonates refuses a request to act as somebody else. Leaving the headers out would do it with the account's own
// rights, which may be more than what was asked for, and answer a question about somebody else (kubectl auth can-i --as)
// wrongly.
var errImpersonates = errors.New("it asks to act as somebody else (--as, Impersonate-User), and an agent acts as its own account alone")

func impersonates(h http.Header) bool {
	for name := range h {
		if strings.HasPrefix(name, "Impersonate-") {
			return true
		}
	}
	return false
}

// onlyJSON leaves the media types of JSON in an Accept header, as tables and partial objects too; all of protobuf,
// CBOR and YAML goes.
func onlyJSON(accept []string) string {
	var out []string
	for _, line := range accept {
		for part := range strings.SplitSeq(line, ",") {
			media, _, _ := strings.Cut(part, ";")
			if strings.EqualFold(strings.TrimSpace(media), "application/json") {
				out = append(out, strings.TrimSpace(part))
			}
		}
	}
	if len(out) == 0 {
		return "application/json"
	}
	return strings.Join(out, ",")
}

// upgrades tells whether the request asks for another protocol.
func upgrades(h http.Header) bool {
	if len(h["Upgrade"]) > 0 {
		return true
	}
	for _, line := range h["Connection"] {
		for token := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.TrimSpace(token), "upgrade") {
				return true
			}
		}
	}
	return false
}
