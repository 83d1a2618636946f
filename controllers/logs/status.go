package logs

import (
	"encoding/json"
	"net/http"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

var groupResource = schema.GroupResource{Group: GroupVersion.Group, Resource: Resource}

// refuse answers with the metav1.Status of an API error, which kubectl prints well. Errors that are not the
// reader's are told without their detail: they may name the bucket.
func refuse(w http.ResponseWriter, err error) {
	var known apierrors.APIStatus
	status, ok := err.(apierrors.APIStatus)
	if ok {
		known = status
	} else {
		known = apierrors.NewInternalError(errUnreadable)
	}
	answer := known.Status()
	answer.TypeMeta = metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}
	writeJSON(w, int(answer.Code), answer)
}

func writeJSON(w http.ResponseWriter, code int, document any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(document) //nolint:errchkjson // documents are API objects, which encode; the reader hanging up is not ours to report
}
