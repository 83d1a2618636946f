package command

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/chaperone-dev/chaperone/api/v1alpha1"
	"github.com/chaperone-dev/chaperone/sidecar/layout"
	"github.com/chaperone-dev/chaperone/sidecar/record"
)

// apiServer answers what the plugin asks for; that admission stamps and refuses decisions is tested where it is
// written, against a real API server.
type apiServer struct {
	*httptest.Server
	approvals  []v1alpha1.ApprovalRequest
	recordings []v1alpha1.SessionRecording
	policies   []v1alpha1.AgentPolicy
	pods       []corev1.Pod
	// sidecarLogs are by namespace/name.
	sidecarLogs map[string]string
	logs        map[string][]byte // by namespace/name
	// keys are those that the operator publishes; nil: the user may not read them.
	keys    []record.Key
	refuse  *metav1.Status // of patches
	patches []string
	askedMu sync.Mutex // a search reads several logs at once
	asked   []string
	watched []watched
}

type watched struct {
	event  string
	object v1alpha1.ApprovalRequest
}

// watch streams what is to be watched and stays open.
func (s *apiServer) watch(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	for _, e := range s.watched {
		e.object.TypeMeta = metav1.TypeMeta{Kind: "ApprovalRequest", APIVersion: "chaperone.dev/v1alpha1"}
		_ = json.NewEncoder(w).Encode(map[string]any{"type": e.event, "object": e.object})
	}
	_ = http.NewResponseController(w).Flush()
	<-r.Context().Done()
}

func newAPIServer(t *testing.T) *apiServer {
	t.Helper()
	s := &apiServer{logs: map[string][]byte{}, keys: []record.Key{record.KeyOf(otherKey.Public().(ed25519.PublicKey)), record.KeyOf(operatorKey.Public().(ed25519.PublicKey))}}
	mux := http.NewServeMux()
	const objects, logs = "/apis/chaperone.dev/v1alpha1", "/apis/logs.chaperone.dev/v1alpha1"
	for _, prefix := range [...]string{objects, objects + "/namespaces/{namespace}"} {
		mux.HandleFunc("GET "+prefix+"/approvalrequests", func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Query().Get("watch") != "" {
				s.watch(w, r)
				return
			}
			listPage(w, r, "ApprovalRequestList", s.approvals, func(a v1alpha1.ApprovalRequest) string { return a.Namespace })
		})
		mux.HandleFunc("GET "+prefix+"/sessionrecordings", func(w http.ResponseWriter, r *http.Request) {
			listPage(w, r, "SessionRecordingList", s.recordings, func(a v1alpha1.SessionRecording) string { return a.Namespace })
		})
	}
	for _, prefix := range [...]string{objects, objects + "/namespaces/{namespace}"} {
		mux.HandleFunc("GET "+prefix+"/agentpolicies", func(w http.ResponseWriter, r *http.Request) {
			listPage(w, r, "AgentPolicyList", s.policies, func(a v1alpha1.AgentPolicy) string { return a.Namespace })
		})
	}
	for _, prefix := range [...]string{"/api/v1", "/api/v1/namespaces/{namespace}"} {
		mux.HandleFunc("GET "+prefix+"/pods", s.listPods)
	}
	mux.HandleFunc("GET /api/v1/namespaces/{namespace}/pods/{name}", s.pod)
	mux.HandleFunc("GET /api/v1/namespaces/{namespace}/pods/{name}/log", func(w http.ResponseWriter, r *http.Request) {
		if log := s.sidecarLogs[r.PathValue("namespace")+"/"+r.PathValue("name")]; log != "" && r.URL.Query().Get("container") == layout.SidecarContainer {
			_, _ = io.WriteString(w, log)
			return
		}
		writeStatus(w, &metav1.Status{Status: "Failure", Code: 403, Reason: metav1.StatusReasonForbidden, Message: "you may not get pods/log"})
	})
	request := objects + "/namespaces/{namespace}/approvalrequests/{name}"
	mux.HandleFunc("GET "+request, func(w http.ResponseWriter, r *http.Request) { s.answer(w, r, nil) })
	mux.HandleFunc("PATCH "+request, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		s.patches = append(s.patches, r.Header.Get("Content-Type")+" "+string(body))
		if s.refuse != nil {
			writeStatus(w, s.refuse)
			return
		}
		s.answer(w, r, body)
	})
	mux.HandleFunc("GET "+logs+"/signingkeys", func(w http.ResponseWriter, _ *http.Request) {
		if s.keys == nil {
			writeStatus(w, &metav1.Status{Status: "Failure", Code: 403, Reason: metav1.StatusReasonForbidden, Message: "you may not list signingkeys"})
			return
		}
		writeJSON(w, record.NewKeyList("logs.chaperone.dev/v1alpha1", s.keys))
	})
	mux.HandleFunc("GET "+logs+"/namespaces/{namespace}/sessionrecordings/{name}/log", func(w http.ResponseWriter, r *http.Request) {
		body, ok := s.logs[r.PathValue("namespace")+"/"+r.PathValue("name")]
		if !ok || r.URL.Query().Get("format") != "log" {
			writeStatus(w, &metav1.Status{Status: "Failure", Code: 404, Reason: metav1.StatusReasonNotFound, Message: `sessionrecordings "` + r.PathValue("name") + `" not found`})
			return
		}
		w.Header().Set("Content-Type", record.ContentType)
		_, _ = w.Write(body)
	})
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.askedMu.Lock()
		s.asked = append(s.asked, r.URL.RequestURI())
		s.askedMu.Unlock()
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

func writeStatus(w http.ResponseWriter, s *metav1.Status) {
	s.TypeMeta = metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(int(s.Code))
	_ = json.NewEncoder(w).Encode(s)
}

// listPage answers with at most two objects at a time, whatever the limit.
func listPage[T any](w http.ResponseWriter, r *http.Request, kind string, items []T, namespace func(T) string) {
	items = slices.DeleteFunc(slices.Clone(items), func(i T) bool {
		return r.PathValue("namespace") != "" && namespace(i) != r.PathValue("namespace")
	})
	from := 0
	_, _ = fmt.Sscan(r.URL.Query().Get("continue"), &from)
	metadata := map[string]any{"resourceVersion": "1"}
	to := min(from+2, len(items))
	if to < len(items) {
		metadata["continue"] = fmt.Sprint(to)
	}
	writeJSON(w, map[string]any{"kind": kind, "apiVersion": "chaperone.dev/v1alpha1", "metadata": metadata, "items": items[from:to]})
}

// listPods lists the pods that a selector is for, as the API server does.
func (s *apiServer) listPods(w http.ResponseWriter, r *http.Request) {
	selector, err := labels.Parse(r.URL.Query().Get("labelSelector"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	list := corev1.PodList{TypeMeta: metav1.TypeMeta{Kind: "PodList", APIVersion: "v1"}}
	for _, p := range s.pods {
		if (r.PathValue("namespace") == "" || r.PathValue("namespace") == p.Namespace) && selector.Matches(labels.Set(p.Labels)) {
			list.Items = append(list.Items, p)
		}
	}
	writeJSON(w, list)
}

func (s *apiServer) pod(w http.ResponseWriter, r *http.Request) {
	for _, p := range s.pods {
		if p.Namespace == r.PathValue("namespace") && p.Name == r.PathValue("name") {
			p.TypeMeta = metav1.TypeMeta{Kind: "Pod", APIVersion: "v1"}
			writeJSON(w, p)
			return
		}
	}
	writeStatus(w, &metav1.Status{Status: "Failure", Code: 404, Reason: metav1.StatusReasonNotFound, Message: `pods "` + r.PathValue("name") + `" not found`})
}

// answer returns an approval request, and after a patch with the decision stamped.
func (s *apiServer) answer(w http.ResponseWriter, r *http.Request, patch []byte) {
	for _, a := range s.approvals {
		if a.Namespace != r.PathValue("namespace") || a.Name != r.PathValue("name") {
			continue
		}
		a.TypeMeta = metav1.TypeMeta{Kind: "ApprovalRequest", APIVersion: "chaperone.dev/v1alpha1"}
		if patch != nil {
			var p struct {
				Spec struct{ Decision v1alpha1.Decision }
			}
			if err := json.Unmarshal(patch, &p); err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			a.Spec.Decisions = append(a.Spec.Decisions, v1alpha1.StampedDecision{Verdict: p.Spec.Decision.Verdict, User: "alice"})
		}
		writeJSON(w, a)
		return
	}
	writeStatus(w, &metav1.Status{Status: "Failure", Code: 404, Reason: metav1.StatusReasonNotFound, Message: `approvalrequests.chaperone.dev "` + r.PathValue("name") + `" not found`})
}

// kubeconfig is the flag for a kubeconfig whose context has the namespace agents.
func (s *apiServer) kubeconfig(t *testing.T) []string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "config")
	text := "apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters: [{name: c, cluster: {server: '" + s.URL + "'}}]\n" +
		"users: [{name: u, user: {}}]\ncontexts: [{name: c, context: {cluster: c, user: u, namespace: agents}}]\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return []string{"--kubeconfig", file}
}

// command is the plugin as the user of that kubeconfig.
func (s *apiServer) command(t *testing.T, out, note io.Writer, args ...string) *cobra.Command {
	t.Helper()
	cmd := New(genericiooptions.IOStreams{In: strings.NewReader(""), Out: out, ErrOut: note}, "v1.2.3")
	if len(args) > 0 && args[0] == "__complete" {
		args = append(append([]string{"__complete"}, s.kubeconfig(t)...), args[1:]...)
	} else {
		args = append(s.kubeconfig(t), args...)
	}
	cmd.SetArgs(args)
	return cmd
}

func (s *apiServer) run(t *testing.T, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	var out, note bytes.Buffer
	err = s.command(t, &out, &note, args...).ExecuteContext(t.Context())
	return out.String(), note.String(), err
}

var (
	operatorKey = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))
	otherKey    = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{8}, ed25519.SeedSize))
)

// log is the body of the recordings API for events in one chunk, signed by the operator.
func log(t *testing.T, meta record.Meta, events ...record.Event) []byte {
	t.Helper()
	var lines []byte
	for _, e := range events {
		line, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(append(lines, line...), '\n')
	}
	z, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	payload := z.EncodeAll(lines, nil)
	sum := record.Sum(0, nil, payload)
	chunk := &record.Chunk{Hash: sum[:], Payload: payload, Last: events[len(events)-1].Kind == record.KindEnd}
	var v record.Verifier
	if err := v.Add(chunk); err != nil {
		t.Fatal(err)
	}
	head := record.SignHead(operatorKey, v.Head(meta.Log), meta.Start.Add(time.Hour))
	var b bytes.Buffer
	if err := record.WriteLog(&b, meta, func(yield func(*record.Chunk, error) bool) { yield(chunk, nil) }, &head); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

var sessionMeta = record.Meta{
	Log: strings.Repeat("ab", 16), Target: "billing", Protocol: "postgres", Start: time.Date(2026, 9, 30, 10, 0, 0, 0, time.UTC),
	Recording: "rec-1", Namespace: "agents", Pod: "agent-0",
}

var sessionEvents = []record.Event{
	{Time: 0, Kind: record.KindConnect, Connection: 1, User: "billing_rw"},
	{Time: 1, Kind: record.KindCommand, Connection: 1, Command: 1, Text: "DROP TABLE customers", Verdict: "Deny", Rule: "no-schema-change"},
	{Time: 2, Kind: record.KindEnd},
}
