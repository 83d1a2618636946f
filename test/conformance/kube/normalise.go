package main

import (
	"regexp"
	"strings"
)

// What two namespaces of one cluster never agree on.
var unlike = []struct {
	pattern *regexp.Regexp
	instead string
}{
	{regexp.MustCompile(`\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b`), "UID"},
	{regexp.MustCompile(`\b20\d\d-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z| ?[+-]\d\d:?\d\d)?`), "TIME"},
	{regexp.MustCompile(`\b(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d \w{3} 20\d\d \d\d:\d\d:\d\d [+-]\d{4}`), "TIME"},
	{regexp.MustCompile(`("?resourceVersion"?: ?)"?\d+"?`), "${1}RV"},
	{regexp.MustCompile(`\b10\.\d+\.\d+\.\d+\b`), "IP"},
	{regexp.MustCompile(`\bfd[0-9a-f]{2}:[0-9a-f:]+`), "IP"},
	{regexp.MustCompile(`eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+`), "TOKEN"},
	{regexp.MustCompile(`\b[0-9a-f]{64}\b`), "CONTAINER"},
	// klog's header: severity, date, time, process.
	{regexp.MustCompile(`(?m)^((?:2> )?[IWEF])\d{4} \d\d:\d\d:\d\d\.\d{6} +\d+ `), "${1} "},
	{regexp.MustCompile(`kube-api-access-[a-z0-9]{5}`), "kube-api-access-X"},
	{regexp.MustCompile(`(?m)([ (])(\d+d)?(\d+h)?(\d+m)?\d+(\.\d+)?m?s( ago)?(\)?)( |$)`), "${1}AGE$7$8"},
	{regexp.MustCompile(`\b(web|runner)-[0-9a-f]{8,10}(-[a-z0-9]{5})?\b`), "$1-HASH"},
	{regexp.MustCompile(`pod-template-hash([=:]) ?"?[0-9a-f]{8,10}"?`), "pod-template-hash${1}HASH"},
	{regexp.MustCompile(`debugger-[a-z0-9]{5}`), "debugger-X"},
	{regexp.MustCompile(`(127\.0\.0\.1|\[::1\]|localhost):\d{4,5}`), "LOCAL"},
	{regexp.MustCompile(` {2,}`), "  "},
}

// normalise replaces what is the namespace's own, or the clock's.
func (s *side) normalise(text string) string {
	text = strings.ReplaceAll(text, s.namespace, "NAMESPACE")
	text = strings.ReplaceAll(text, s.config.Host, "https://SERVER")
	text = strings.ReplaceAll(text, s.folder, "FOLDER")
	for _, u := range unlike {
		text = u.pattern.ReplaceAllString(text, u.instead)
	}
	return text
}
