package kube

import (
	"context"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/chaperone-dev/chaperone/test/kubeserver"
)

// ask sends one request with a body and returns the answer.
func ask(t testing.TB, s *kubeserver.Sidecar, method, target, media, body string) (code int, answer string) {
	t.Helper()
	c := dial(t, s.Address(), s.CAPEM())
	content := ""
	if media != "" {
		content = "Content-Type: " + media + "\r\n"
	}
	c.send(t, fmt.Sprintf("%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n%sContent-Length: %d\r\n\r\n%s", method, target, content, len(body), body))
	return c.answer()
}

// hoard makes a Secret whose value is the treasure, as kubectl apply makes one: its annotations hold the value, too.
func hoard(t testing.TB, name string) {
	t.Helper()
	object := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"hoard": "yes"}, Annotations: map[string]string{
			corev1.LastAppliedConfigAnnotation: `{"apiVersion":"v1","data":{"what":"` + b64(treasure) + `"},"kind":"Secret","metadata":{"name":"` + name + `"}}`,
		}},
		StringData: map[string]string{"what": treasure, "other": "x"},
	}
	secrets := server.Client.CoreV1().Secrets("shop")
	if _, err := secrets.Create(t.Context(), object, metav1.CreateOptions{FieldManager: "hoarder"}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = secrets.Delete(context.Background(), name, metav1.DeleteOptions{}) })
}

const (
	jsonPatch  = "application/json-patch+json"
	mergePatch = "application/merge-patch+json"
	applyPatch = "application/apply-patch+yaml"
)

// TestValuesOfSecretsInAnswers asks for Secrets in ways whose answers hold the object, or a part of it, or a word about it.
func TestValuesOfSecretsInAnswers(t *testing.T) {
	s := front(t, open())
	const one, all = "/api/v1/namespaces/shop/secrets/NAME", "/api/v1/namespaces/shop/secrets"
	for name, c := range map[string]struct {
		method, target, media, body string
		// refused says that the request may not have been forwarded.
		refused bool
	}{
		"with managed fields":                        {method: "GET", target: one},
		"a list in pages":                            {method: "GET", target: all + "?limit=1"},
		"a list of one":                              {method: "GET", target: all + "?fieldSelector=metadata.name%3DNAME"},
		"a list by a label":                          {method: "GET", target: all + "?labelSelector=hoard"},
		"a list as of an old version":                {method: "GET", target: all + "?resourceVersion=0&resourceVersionMatch=NotOlderThan"},
		"a watch with bookmarks":                     {method: "GET", target: all + "?watch=1&allowWatchBookmarks=1&timeoutSeconds=1"},
		"a watch that begins with all":               {method: "GET", target: all + "?watch=1&allowWatchBookmarks=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&timeoutSeconds=1"},
		"a watch by path":                            {method: "GET", target: "/api/v1/watch/namespaces/shop/secrets/NAME?timeoutSeconds=1"},
		"a merge patch":                              {method: "PATCH", target: one, media: mergePatch, body: `{"data":{"other":"eQ=="}}`},
		"a merge patch that is not made":             {method: "PATCH", target: one + "?dryRun=All", media: mergePatch, body: `{"data":{"other":null}}`},
		"a strategic patch":                          {method: "PATCH", target: one, media: "application/strategic-merge-patch+json", body: `{"metadata":{"labels":{"a":"b"}}}`},
		"a patch that changes nothing":               {method: "PATCH", target: one, media: mergePatch, body: `{}`},
		"server-side apply":                          {method: "PATCH", target: one + "?fieldManager=agent", media: applyPatch, body: "apiVersion: v1\nkind: Secret\nmetadata: {name: NAME, labels: {c: d}}\n"},
		"server-side apply that is not made":         {method: "PATCH", target: one + "?fieldManager=agent&dryRun=All", media: applyPatch, body: "apiVersion: v1\nkind: Secret\nmetadata: {name: NAME}\n"},
		"server-side apply of a conflict":            {method: "PATCH", target: one + "?fieldManager=agent", media: applyPatch, body: "apiVersion: v1\nkind: Secret\nmetadata: {name: NAME}\ndata: {what: eA==}\n"},
		"a deletion that is not made":                {method: "DELETE", target: one + "?dryRun=All"},
		"a deletion of all that is not made":         {method: "DELETE", target: all + "?dryRun=All&labelSelector=hoard"},
		"a deletion that waits":                      {method: "DELETE", target: one + "?propagationPolicy=Foreground"},
		"a replacement that is not made":             {method: "PUT", target: one + "?dryRun=All", media: "application/json", body: `{"apiVersion":"v1","kind":"Secret","metadata":{"name":"NAME"}}`},
		"a creation of the same name":                {method: "POST", target: all, media: "application/json", body: `{"apiVersion":"v1","kind":"Secret","metadata":{"name":"NAME"},"data":{"what":"` + b64("x") + `"}}`},
		"a label that is none":                       {method: "PATCH", target: one, media: mergePatch, body: `{"metadata":{"labels":{"a":"not a label"}}}`},
		"another type":                               {method: "PATCH", target: one, media: mergePatch, body: `{"type":"kubernetes.io/tls"}`},
		"a copy into an annotation":                  {method: "PATCH", target: one, media: jsonPatch, body: `[{"op":"copy","from":"/data/what","path":"/metadata/annotations/leak"}]`, refused: true},
		"a copy into a label, whose error quotes it": {method: "PATCH", target: one, media: jsonPatch, body: `[{"op":"copy","from":"/data/what","path":"/metadata/labels/hoard"}]`, refused: true},
		"a copy into a field of another kind":        {method: "PATCH", target: one, media: jsonPatch, body: `[{"op":"copy","from":"/data/what","path":"/immutable"}]`, refused: true},
		"a copy of what kubectl remembers":           {method: "PATCH", target: one, media: jsonPatch, body: `[{"op":"copy","from":"/metadata/annotations/kubectl.kubernetes.io~1last-applied-configuration","path":"/metadata/labels/hoard"}]`, refused: true},
		"a copy in escapes":                          {method: "PATCH", target: one, media: jsonPatch, body: `[{"\u006fp":"c\u006fpy","fr\u006fm":"/d\u0061ta/what","path":"/metadata/labels/hoard"}]`, refused: true},
		"a copy by another media type's name":        {method: "PATCH", target: one, media: "Application/JSON-Patch+json; charset=utf-8", body: ` [{"op":"copy","from":"/data/what","path":"/metadata/labels/hoard"}]`, refused: true},
		"a copy that is not made":                    {method: "PATCH", target: one + "?dryRun=All", media: jsonPatch, body: `[{"op":"copy","from":"/data/what","path":"/metadata/annotations/leak"}]`, refused: true},
		"a move":                                     {method: "PATCH", target: one, media: jsonPatch, body: `[{"op":"move","from":"/data/what","path":"/metadata/annotations/leak"}]`, refused: true},
		"an operation named twice":                   {method: "PATCH", target: one, media: jsonPatch, body: `[{"op":"remove","op":"copy","from":"/data/what","path":"/metadata/annotations/leak"}]`, refused: true},
		"a guess that is right":                      {method: "PATCH", target: one, media: jsonPatch, body: `[{"op":"test","path":"/data/what","value":"` + b64(treasure) + `"}]`, refused: true},
		"a guess that is wrong":                      {method: "PATCH", target: one, media: jsonPatch, body: `[{"op":"test","path":"/data/what","value":"eA=="}]`, refused: true},
	} {
		t.Run(name, func(t *testing.T) {
			own := fmt.Sprintf("hoard-%d", marks.Add(1))
			hoard(t, own)
			before, err := server.Client.CoreV1().Secrets("shop").Get(t.Context(), own, metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			code, answer := ask(t, s, c.method, strings.ReplaceAll(c.target, "NAME", own), c.media, strings.ReplaceAll(c.body, "NAME", own))
			if strings.Contains(answer, treasure) || strings.Contains(answer, b64(treasure)) {
				t.Errorf("%d %s", code, answer)
			}
			if code == 0 || code >= 500 || (code == 403) != c.refused || c.refused && !strings.Contains(answer, "Chaperone") {
				t.Errorf("%d %s", code, answer)
			}
			if !c.refused {
				return
			}
			if now, err := server.Client.CoreV1().Secrets("shop").Get(t.Context(), own, metav1.GetOptions{}); err != nil || now.ResourceVersion != before.ResourceVersion {
				t.Errorf("%v: it was changed", err)
			}
		})
	}
	livesOn(t, s)
}

// TestTheValuesDoShowPastTheSidecar keeps the cases of patches honest.
func TestTheValuesDoShowPastTheSidecar(t *testing.T) {
	hoard(t, "shown")
	for name, patch := range map[string]string{
		"an annotation":  `[{"op":"copy","from":"/data/what","path":"/metadata/annotations/leak"}]`,
		"a label":        `[{"op":"copy","from":"/data/what","path":"/metadata/labels/hoard"}]`,
		"what is quoted": `[{"op":"copy","from":"/metadata/annotations/kubectl.kubernetes.io~1last-applied-configuration","path":"/metadata/labels/hoard"}]`,
	} {
		c := dial(t, server.Address, server.CAPEM())
		c.send(t, fmt.Sprintf("PATCH /api/v1/namespaces/shop/secrets/shown?dryRun=All HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", token, jsonPatch, len(patch), patch))
		if code, answer := c.answer(); strings.Count(answer, b64(treasure)) == 0 {
			t.Errorf("%s proves nothing: %d %s", name, code, answer)
		}
	}
}

// TestLogsAreMaskedHoweverTheyAreAskedFor: the container prints a card in each of three lines.
func TestLogsAreMaskedHoweverTheyAreAskedFor(t *testing.T) {
	s := front(t, open())
	const spaced = "4111 1111 1111 1111"
	lines := strings.Count // of what the log has to hold, for the case to prove something
	for name, query := range map[string]string{
		"all": "", "followed": "follow=true", "of the container before": "previous=true", "with times": "timestamps=true",
		"since a time": "sinceTime=2020-01-01T00:00:00Z", "since some seconds": "sinceSeconds=9999", "the last lines": "tailLines=3",
		"by a container's name": "container=only", "pretty": "pretty=true",
		"no more than there is": "limitBytes=100000",
		"followed with a limit": "follow=true&limitBytes=100000&timestamps=true", "a backend that is not verified": "insecureSkipTLSVerifyBackend=true",
	} {
		t.Run(name, func(t *testing.T) {
			code, log := ask(t, s, "GET", "/api/v1/namespaces/shop/pods/solo/log?"+query, "", "")
			if code != 200 || strings.Contains(log, spaced) || strings.Contains(log, "1111") || lines(log, "of card") != 3 {
				t.Errorf("%d %s", code, log)
			}
		})
	}
	whole, _ := strings.CutSuffix("line 0 of card "+spaced, "\n")
	for limit := 1; limit <= len(whole); limit++ {
		t.Run(fmt.Sprintf("cut at %d bytes", limit), func(t *testing.T) {
			code, log := ask(t, s, "GET", fmt.Sprintf("/api/v1/namespaces/shop/pods/solo/log?limitBytes=%d", limit), "", "")
			if code != 200 || len(log) != limit || strings.ContainsAny(strings.TrimPrefix(log, "line 0"), "0123456789") {
				t.Errorf("%d %q", code, log)
			}
		})
	}
	// What this API server, or the sidecar, does not take; another version may.
	for _, query := range []string{"limitBytes=0", "limitBytes=-1", "limitBytes=x", "limitBytes=99999999999999999999", "limitBytes=100&limitBytes=20", "stream=All", "stream=Stdout&tailLines=1"} {
		t.Run(query, func(t *testing.T) {
			if code, log := ask(t, s, "GET", "/api/v1/namespaces/shop/pods/solo/log?"+query, "", ""); code == 0 || strings.Contains(log, "1111") {
				t.Errorf("%d %s", code, log)
			}
		})
	}
	livesOn(t, s)
}
