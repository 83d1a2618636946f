package logs

import (
	"net/http"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupVersion of the recordings API. An APIService owns a whole group version, so that it cannot share that of
// the custom resources.
var GroupVersion = schema.GroupVersion{Group: "logs.chaperone.dev", Version: "v1alpha1"}

// Resource and Subresource are what RBAC speaks of: get on sessionrecordings/log.
const (
	Resource    = "sessionrecordings"
	Subresource = "log"
)

// discovery answers what the API server and kubectl ask to learn what is here.
func discovery(mux *http.ServeMux) {
	version := metav1.GroupVersionForDiscovery{GroupVersion: GroupVersion.String(), Version: GroupVersion.Version}
	group := metav1.APIGroup{
		TypeMeta: metav1.TypeMeta{Kind: "APIGroup", APIVersion: "v1"},
		Name:     GroupVersion.Group, Versions: []metav1.GroupVersionForDiscovery{version}, PreferredVersion: version,
	}
	nested := group
	nested.TypeMeta = metav1.TypeMeta{}
	for path, document := range map[string]any{
		"/apis": metav1.APIGroupList{
			TypeMeta: metav1.TypeMeta{Kind: "APIGroupList", APIVersion: "v1"}, Groups: []metav1.APIGroup{nested},
		},
		"/apis/" + GroupVersion.Group: group,
		"/apis/" + GroupVersion.String(): metav1.APIResourceList{
			TypeMeta:     metav1.TypeMeta{Kind: "APIResourceList", APIVersion: "v1"},
			GroupVersion: GroupVersion.String(),
			APIResources: []metav1.APIResource{{
				Name: Resource + "/" + Subresource, SingularName: "", Namespaced: true, Kind: "SessionRecordingLog", Verbs: metav1.Verbs{"get"},
			}, {
				Name: KeysResource, SingularName: "signingkey", Kind: "SigningKey", Verbs: metav1.Verbs{"list"},
			}},
		},
	} {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, http.StatusOK, document) })
	}
}
