package logs

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/klauspost/compress/zstd"
	"gocloud.dev/blob/memblob"
	authenticationv1 "k8s.io/api/authentication/v1"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/user"

	"github.com/chaperone-dev/chaperone/controllers/archive"
	"github.com/chaperone-dev/chaperone/sidecar/record"
	"github.com/chaperone-dev/chaperone/webhook/access"
)

const keysPath = "/apis/logs.chaperone.dev/v1alpha1/signingkeys"

const path = "/apis/logs.chaperone.dev/v1alpha1/namespaces/agents/sessionrecordings/agent-billing/log"

// oneKey is a keyring that holds one key.
type oneKey ed25519.PrivateKey

func (k oneKey) Sign(h record.Head) record.Head {
	return record.SignHead(ed25519.PrivateKey(k), h, time.Now())
}

func (k oneKey) Trusted(context.Context, string) []record.Key {
	return []record.Key{record.KeyOf(ed25519.PrivateKey(k).Public().(ed25519.PublicKey))}
}

// recorded is an archive with one recording of one chunk, not yet closed.
func recorded(t *testing.T) *archive.Archive {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	a := archive.New(memblob.OpenBucket(nil), oneKey(key))
	t.Cleanup(func() { a.Close() })
	meta := record.Meta{
		Log: strings.Repeat("ab", 16), Target: "billing", Protocol: "postgres", Start: time.Unix(1000, 0).UTC(),
		Recording: "agent-billing", Namespace: "agents", Pod: "agent", PodUID: "uid-1",
	}
	log, err := a.Begin(t.Context(), meta)
	if err != nil {
		t.Fatal(err)
	}
	line, err := json.Marshal(record.Event{Time: 1, Kind: record.KindCommand, Connection: 1, Text: "DROP TABLE customers", Verdict: "Deny", Rule: "no-schema-change"})
	if err != nil {
		t.Fatal(err)
	}
	z, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	payload := z.EncodeAll(append(line, '\n'), nil)
	sum := record.Sum(0, nil, payload)
	if err := log.Append(t.Context(), &record.Chunk{Payload: payload, Hash: sum[:]}); err != nil {
		t.Fatal(err)
	}
	if err := log.Sign(t.Context(), record.Recording); err != nil {
		t.Fatal(err)
	}
	if err := a.PutEntry(t.Context(), &archive.Entry{Meta: meta, State: record.Recording}); err != nil {
		t.Fatal(err)
	}
	gone := meta
	gone.Recording = "gone"
	now := time.Unix(2000, 0)
	if err := a.PutEntry(t.Context(), &archive.Entry{Meta: gone, BytesDeleted: &now}); err != nil {
		t.Fatal(err)
	}
	return a
}

func TestServer(t *testing.T) {
	a := recorded(t)
	for name, test := range map[string]struct {
		path          string
		method        string
		unknown       bool // not the front proxy
		refused       bool // RBAC says no
		reviewFails   bool
		code          int
		contains      []string
		containsNever string
	}{
		"a reader with the right reads a timeline": {path: path, code: 200, contains: []string{"DROP TABLE customers", "no-schema-change"}},
		"JSON lines are events":                    {path: path + "?format=jsonl", code: 200, contains: []string{`"kind":"command"`}},
		"whoever is not the front proxy is nobody": {path: path, unknown: true, code: 401, containsNever: "DROP"},
		"discovery needs the front proxy too":      {path: "/apis", unknown: true, code: 401},
		"RBAC refuses, and says which right is missing": {path: path, refused: true, code: 403,
			contains: []string{"dana", "sessionrecordings/log", `"kind":"Status"`}, containsNever: "DROP"},
		"rights that cannot be reviewed are no rights": {path: path, reviewFails: true, code: 500, containsNever: "DROP"},
		"another name is not found":                    {path: strings.Replace(path, "agent-billing", "other", 1), code: 404},
		"another namespace is not found":               {path: strings.Replace(path, "/agents/", "/others/", 1), code: 404},
		"a name that climbs is not found":              {path: strings.Replace(path, "agent-billing", "..%2f..%2fagents%2fagent-billing", 1), code: 404, containsNever: "DROP"},
		"bytes that retention took are gone":           {path: strings.Replace(path, "agent-billing", "gone", 1), code: 410, contains: []string{"retention"}},
		"an unknown format names the known ones":       {path: path + "?format=pdf", code: 400, contains: []string{"asciicast"}},
		"a timeline cannot begin in the middle":        {path: path + "?from=1", code: 400},
		"the keys are published":                       {path: keysPath, code: 200, contains: []string{`"kind":"SigningKeyList"`, `"key":"`}},
		"RBAC refuses the keys":                        {path: keysPath, refused: true, code: 403, contains: []string{"dana", "may not list signingkeys of group logs.chaperone.dev"}, containsNever: `"key"`},
		"keys need rights that are reviewed":           {path: keysPath, reviewFails: true, code: 500, containsNever: `"key"`},
		"a key by itself is not served":                {path: keysPath + "/0011223344556677", code: 404},
		"nothing can be written":                       {path: path, method: "DELETE", code: 404},
		"discovery lists the one resource":             {path: "/apis/logs.chaperone.dev/v1alpha1", code: 200, contains: []string{`"sessionrecordings/log"`}},
	} {
		t.Run(name, func(t *testing.T) {
			var asked access.Attributes
			s := &Server{
				options: Options{Archive: a, Log: logr.Discard()},
				authenticate: authenticator.RequestFunc(func(*http.Request) (*authenticator.Response, bool, error) {
					return &authenticator.Response{User: &user.DefaultInfo{Name: "dana", Groups: []string{"dba"}}}, !test.unknown, nil
				}),
				may: func(_ context.Context, u authenticationv1.UserInfo, at access.Attributes) (bool, string, error) {
					asked = at
					if test.reviewFails {
						return true, "", errors.New("the API server is away")
					}
					return !test.refused && u.Username == "dana", "", nil
				},
			}
			method := test.method
			if method == "" {
				method = "GET"
			}
			w := httptest.NewRecorder()
			s.handler().ServeHTTP(w, httptest.NewRequest(method, test.path, nil))
			body, _ := io.ReadAll(w.Body)
			if w.Code != test.code {
				t.Fatalf("status %d, want %d: %s", w.Code, test.code, body)
			}
			for _, want := range test.contains {
				if !strings.Contains(string(body), want) {
					t.Errorf("no %q in %s", want, body)
				}
			}
			if test.containsNever != "" && strings.Contains(string(body), test.containsNever) {
				t.Errorf("%q leaked: %s", test.containsNever, body)
			}
			if test.refused && test.path == path && (asked.Verb != "get" || asked.Subresource != "log" || asked.Group != "logs.chaperone.dev" || asked.Name != "agent-billing") {
				t.Errorf("the review asked for %+v", asked)
			}
		})
	}
}

func TestALogReadWholeVerifiesOffline(t *testing.T) {
	a := recorded(t)
	s := &Server{
		options: Options{Archive: a, Log: logr.Discard()},
		authenticate: authenticator.RequestFunc(func(*http.Request) (*authenticator.Response, bool, error) {
			return &authenticator.Response{User: &user.DefaultInfo{Name: "dana"}}, true, nil
		}),
		may: func(context.Context, authenticationv1.UserInfo, access.Attributes) (bool, string, error) {
			return true, "", nil
		},
	}
	w := httptest.NewRecorder()
	s.handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, path+"?format=log", nil))
	_, verified, err := record.Verify(w.Body, nil, a.Trusted(t.Context(), nil)...)
	if err != nil || verified.Chunks != 1 || verified.Signed != 1 {
		t.Errorf("verification %+v, %v", verified, err)
	}
}
